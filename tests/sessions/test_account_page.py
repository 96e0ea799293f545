"""The account page: sessions and events in plain words, and buttons that need no JavaScript."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import audit, login, sessions
from app.audit import Event
from app.client import Client
from app.db import transaction
from tests.conftest import find_user
from tests.pages.conftest import Page
from tests.sessions.conftest import (
    ELSEWHERE,
    HOUR,
    NEW_PASSWORD,
    all_events,
    log_in_for_cookie,
    sign_program_in,
    signed_in_browser,
    token_by_cookie,
    user_id,
)
from tests.support import PASSWORD, SOMEWHERE, get, log_in, submit

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
WARNING = "Somebody used a copy of one of your sessions"


@pytest.fixture
def browser(app: Flask, alice: str) -> FlaskClient:
    """Alice's browser, signed in."""
    return signed_in_browser(app, alice)


def text_of(client: FlaskClient) -> str:
    """The page as a person reads it, spaces folded."""
    html = get(client, "/account").text
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def buttons(client: FlaskClient) -> list[str]:
    """Where the forms of the page lead."""
    forms = Page(get(client, "/account").text).all("form")
    assert {form["method"] for form in forms} == {"post"}
    return [str(form["action"]) for form in forms]


def add_session(app: Flask, email: str, client: Client, ago: timedelta = timedelta(0)) -> str:
    """Sign somebody in from somewhere, some time ago. Gives the session's id."""
    with app.app_context():
        now = datetime.now(UTC) - ago
        return login.with_cookie(email, PASSWORD, client, now=now).session.public_id


# Sessions


def test_sessions_are_shown_in_plain_words(app: Flask, browser: FlaskClient, alice: str) -> None:
    """What it is, where, and how long ago it was used."""
    add_session(app, alice, Client("203.0.113.9", IPHONE), timedelta(days=3))
    page = text_of(browser)
    assert "Safari on iPhone" in page
    assert "203.0.113.9 · last used 3 days ago" in page
    assert "Mozilla" not in page


def test_this_device_is_marked(app: Flask, browser: FlaskClient, alice: str) -> None:
    """One of them all."""
    add_session(app, alice, ELSEWHERE)
    assert text_of(browser).count("this device") == 1


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=1), "active now"),
        (timedelta(minutes=4), "active now"),
        (timedelta(minutes=6), "last used 6 minutes ago"),
        (timedelta(minutes=61), "last used 1 hour ago"),
        (timedelta(hours=47), "last used 1 day ago"),
        (timedelta(days=29), "last used 29 days ago"),
    ],
)
def test_times_are_said_as_people_say_them(
    app: Flask, browser: FlaskClient, alice: str, ago: timedelta, words: str
) -> None:
    """Roughly."""
    add_session(app, alice, Client("203.0.113.9", IPHONE), ago)
    assert f"203.0.113.9 · {words}" in text_of(browser)


def test_each_other_session_has_a_button(app: Flask, browser: FlaskClient, alice: str) -> None:
    """A form that works without JavaScript; this device has its own at the top."""
    others = [add_session(app, alice, ELSEWHERE) for _ in range(2)]
    ends = [path for path in buttons(browser) if re.search("/account/sessions/s_", path)]
    assert sorted(ends) == sorted(f"/account/sessions/{other}/end" for other in others)


def test_a_button_ends_its_session(app: Flask, browser: FlaskClient, alice: str) -> None:
    """And the page says so."""
    other = add_session(app, alice, ELSEWHERE)
    answer = submit(browser, f"/account/sessions/{other}/end")
    assert answer.status_code == 303
    assert "The session has ended." in get(browser, answer.headers["Location"]).text
    assert other not in get(browser, "/account").text


def test_pressing_a_button_twice_is_harmless(app: Flask, browser: FlaskClient, alice: str) -> None:
    """What was wanted is so already."""
    other = add_session(app, alice, ELSEWHERE)
    answers = [submit(browser, f"/account/sessions/{other}/end") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]


def test_a_lone_session_has_no_others_to_end(browser: FlaskClient) -> None:
    """A button that does nothing is not shown."""
    assert "/account/sessions/end-others" not in buttons(browser)
    assert "/account/sessions/end-all" in buttons(browser)


def test_signing_out_everywhere_leads_to_the_sign_in_page(browser: FlaskClient) -> None:
    """This browser is out, too."""
    answer = submit(browser, "/account/sessions/end-all")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    assert token_by_cookie(browser).status_code == 401


@pytest.mark.parametrize("path", ["", "/password", "/sessions/s_x/end", "/sessions/end-others"])
def test_a_stranger_is_led_to_the_sign_in_page(client: FlaskClient, path: str) -> None:
    """Whichever door they try."""
    answer = submit(client, f"/account{path}") if path else get(client, "/account")
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/login")


def test_nothing_of_others_is_shown(app: Flask, browser: FlaskClient, bob: str) -> None:
    """Neither sessions nor events nor names."""
    his = add_session(app, bob, Client("203.0.113.9", IPHONE))
    page = get(browser, "/account").text
    for trace in (his, bob, user_id(app, bob), "203.0.113.9", "iPhone"):
        assert trace not in page


# The password


def change(
    client: FlaskClient, current: str = PASSWORD, new: str = NEW_PASSWORD
) -> tuple[int, str]:
    answer = submit(client, "/account/password", current_password=current, new_password=new)
    return answer.status_code, answer.text


def test_the_password_is_changed_by_the_form(browser: FlaskClient, alice: str) -> None:
    """This browser stays in, and is told."""
    answer = submit(
        browser, "/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD
    )
    assert "The password is changed." in get(browser, answer.headers["Location"]).text
    assert log_in(browser, alice, NEW_PASSWORD).status_code == 200


def test_a_wrong_current_password_is_told_at_its_field(
    app: Flask, browser: FlaskClient, alice: str
) -> None:
    """It counts as a failed login; nothing is changed."""
    status, html = change(browser, current="wrong horse battery staple")
    assert status == 403
    assert "The current password is not right." in html
    assert Page(html).field("current_password")["aria-invalid"] == "true"
    assert all_events(app)[-1].reason == "current_password"
    assert log_in(browser, alice).status_code == 200


def test_a_weak_new_password_is_told_at_its_field(browser: FlaskClient, alice: str) -> None:
    """With advice."""
    status, html = change(browser, new="short")
    assert status == 422
    assert Page(html).field("new_password")["aria-invalid"] == "true"
    assert "15 characters" in html
    assert log_in(browser, alice).status_code == 200


@pytest.mark.parametrize("typed", ["wrong horse battery staple", PASSWORD])
def test_no_password_comes_back(browser: FlaskClient, typed: str) -> None:
    """Whatever was wrong with it."""
    _, html = change(browser, current=typed, new="hunter2")
    assert typed not in html
    assert "hunter2" not in html


@pytest.mark.parametrize("fields", [{}, {"current_password": PASSWORD}, {"new_password": "\0"}])
def test_a_form_that_lacks_fields_changes_nothing(
    browser: FlaskClient, fields: dict[str, str], alice: str
) -> None:
    """And is no fault of ours."""
    assert submit(browser, "/account/password", **fields).status_code in (403, 422)
    assert log_in(browser, alice).status_code == 200


# Events


OF_OTHERS = ("service.", "client.", "token.", "key", "users.")
OF_A_PERSON = [event for event in Event if not event.startswith(OF_OTHERS)]


def test_each_event_is_said_in_words(app: Flask, browser: FlaskClient, alice: str) -> None:
    """No name of ours stands on the page; those of keys and services are nobody's."""
    who = user_id(app, alice)
    with app.app_context():
        for event in OF_A_PERSON:
            audit.record(event, SOMEWHERE, user=who, reason=None)
    page = text_of(browser)
    for event in OF_A_PERSON:
        assert event.value not in page or event.value in ("user.deleted", "everything.ended")


@pytest.mark.parametrize("ending", list(sessions.Ending))
def test_each_reason_for_an_end_is_said_in_words(
    app: Flask, browser: FlaskClient, alice: str, ending: sessions.Ending
) -> None:
    """People read it, not programs."""
    who = user_id(app, alice)
    with app.app_context():
        audit.record(Event.SESSION_ENDED, SOMEWHERE, user=who, reason=ending.value)
    assert ending.value not in text_of(browser)


def test_a_late_return_is_shown(app: Flask, browser: FlaskClient, alice: str) -> None:
    """The person can judge whether that was they."""
    program = sign_program_in(app, alice)
    for at in (0, HOUR):
        program.refresh(program.first.refresh, at, key="k" * 22)
    assert "A device that had lost its connection came back" in text_of(browser)


def test_a_guess_at_the_password_is_shown(app: Flask, browser: FlaskClient, alice: str) -> None:
    """With its place."""
    log_in(app.test_client(), alice, "wrong horse battery staple")
    assert "A sign-in was refused" in text_of(browser)


# The warning


def steal(app: Flask, email: str) -> None:
    program = sign_program_in(app, email)
    program.refresh(program.first.refresh, -60)
    program.refusal(program.first.refresh, 0, client=ELSEWHERE)


def test_a_theft_is_told_with_place_and_device(
    app: Flask, browser: FlaskClient, alice: str
) -> None:
    """And what to do."""
    steal(app, alice)
    page = text_of(browser)
    assert WARNING in page
    assert f"(Firefox on Linux, {ELSEWHERE.address})" in page
    assert "change your password below" in page


def test_noise_does_not_hide_a_theft(app: Flask, browser: FlaskClient, alice: str) -> None:
    """Whoever stole it could fail to sign in often enough to push it off the list."""
    steal(app, alice)
    for _ in range(60):
        log_in(app.test_client(), alice, "wrong horse battery staple")
    assert WARNING in text_of(browser)


@pytest.mark.parametrize(("days", "told"), [(13, True), (15, False)])
def test_the_warning_goes_after_two_weeks(
    app: Flask, browser: FlaskClient, alice: str, days: int, told: bool
) -> None:
    """The event stays in the list."""
    who = user_id(app, alice)
    with app.app_context(), transaction():
        then = datetime.now(UTC) - timedelta(days=days)
        find_user(app, alice).password_changed_at = then - timedelta(days=1)
        audit.record(Event.REFRESH_REUSED, ELSEWHERE, user=who, now=then)
    assert (WARNING in text_of(browser)) == told
    assert "A copy of a session was used" in text_of(browser)


# Hostile names

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "Firefox/1.0 <b>on Linux</b>",
    "curl/8 '; DROP TABLE users; --",
    "\x1b[2J\r\nSet-Cookie: x=y",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_user_agent_is_only_a_device(app: Flask, alice: str, name: str) -> None:
    """It is put into our words; nothing of it reaches the page."""
    client = app.test_client()
    client.environ_base["HTTP_USER_AGENT"] = name
    submit(client, "/login", email=alice, password=PASSWORD)
    page = get(client, "/account").text
    for trace in ("alert(1)", "49", "<b>", "DROP", "onerror"):
        assert trace not in re.sub(r"<time.*?</time>|<code.*?</code>", "", page)


@pytest.mark.parametrize("local", ["a&b", "o'brien", "x{{7*7}}y"])
def test_a_hostile_address_is_escaped(app: Flask, local: str) -> None:
    """What people may call themselves is text."""
    email = f"{local}@example.com"
    client = app.test_client()
    answer = submit(client, "/register", email=email, password=PASSWORD)
    assert answer.status_code == 303
    page = get(client, "/account").text
    assert email in unescape(page)
    assert "x49y" not in page


def test_a_device_cannot_pass_for_the_operator(app: Flask, alice: str) -> None:
    """Who calls themselves like our command line is no operator."""
    client = app.test_client()
    client.environ_base["HTTP_USER_AGENT"] = "Command line of the operator"
    log_in_for_cookie(client, alice)
    assert "operator" not in text_of(client).lower()


def test_a_link_cannot_make_the_page_say_what_did_not_happen(browser: FlaskClient) -> None:
    """Whoever sends it to a person wants them to believe it."""
    assert 'class="done"' not in get(browser, "/account?done=password").text


def test_the_page_says_what_was_just_done(browser: FlaskClient) -> None:
    """Once."""
    fields = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    submit(browser, "/account/password", **fields)
    assert ["The password is changed." in text_of(browser) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/logout", "You are signed out."),
        ("/account/sessions/end-all", "You are signed out everywhere."),
    ],
)
def test_the_sign_in_page_says_what_was_just_done(
    browser: FlaskClient, path: str, said: str
) -> None:
    """Whoever lands on a bare form does not know whether it worked."""
    submit(browser, path)
    assert [said in get(browser, "/login").text for _ in range(2)] == [True, False]


def shown_theft(browser: FlaskClient) -> str:
    """What the button of the warning sends."""
    match = re.search(r'name="event" value="(\d+)"', get(browser, "/account").text)
    assert match
    return match[1]


def robbed(app: Flask, email: str) -> None:
    """Somebody used a copy of a session of theirs."""
    with app.app_context():
        audit.record(Event.REFRESH_REUSED, ELSEWHERE, user=user_id(app, email))


def test_the_warning_goes_when_the_password_is_changed(
    app: Flask, browser: FlaskClient, alice: str
) -> None:
    """The person did what it says."""
    robbed(app, alice)
    fields = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert WARNING in text_of(browser)
    submit(browser, "/account/password", **fields)
    assert WARNING not in text_of(browser)


def test_the_warning_goes_when_the_person_knows_why(
    app: Flask, browser: FlaskClient, alice: str
) -> None:
    """And comes back with the next theft."""
    robbed(app, alice)
    submit(browser, "/account/warning/dismiss", event=shown_theft(browser))
    assert WARNING not in text_of(browser)
    robbed(app, alice)
    assert WARNING in text_of(browser)


def test_a_theft_that_was_not_shown_is_not_dismissed(
    app: Flask, browser: FlaskClient, alice: str
) -> None:
    """It came between the page and the click."""
    robbed(app, alice)
    shown = shown_theft(browser)
    robbed(app, alice)
    submit(browser, "/account/warning/dismiss", event=shown)
    assert WARNING in text_of(browser)


def test_the_new_password_must_be_another(browser: FlaskClient) -> None:
    """Whoever follows the warning must not believe to be safe with the old one."""
    fields = {"current_password": PASSWORD, "new_password": PASSWORD}
    answer = submit(browser, "/account/password", **fields)
    assert answer.status_code == 422
    assert "Choose another one than the current password." in answer.text
