"""The page of administrators: who sees it, what it shows and does, and what it refuses."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import accounts, administration, audit, services, users
from app.audit import Event
from app.client import Client
from app.db import transaction, utcnow
from app.errors import LockOut
from app.views import chart
from tests.conftest import MakeApp, add_user, find_user, on_both_databases
from tests.sessions.conftest import all_events, signed_in_browser, user_id
from tests.sessions.crowd import is_accepted, sign_in
from tests.support import ORIGIN, SOMEWHERE, get, submit


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The app with default settings."""
    return make_app()


@pytest.fixture
def admin(app: Flask) -> FlaskClient:
    """The browser of Olga, who is an administrator."""
    return signed_in_browser(app, add_user(app, "olga@example.com", "admin"))


def path_of(app: Flask, email: str, action: str) -> str:
    return f"/admin/users/{user_id(app, email)}/{action}"


def text_of(client: FlaskClient, path: str = "/admin") -> str:
    """The page as a person reads it, spaces folded."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", get(client, path).text)).split())


def addresses_on(html: str) -> list[str]:
    return re.findall(r"<strong>([^<]+@[^<]+)</strong>", html)


ROUTES = [
    ("GET", "/admin"),
    ("POST", "/admin/users/u_x/disable"),
    ("POST", "/admin/users/u_x/enable"),
    ("POST", "/admin/users/u_x/end-sessions"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_an_ordinary_user_is_refused(app: Flask, alice: str, method: str, path: str) -> None:
    """With a page that says whom to ask."""
    browser = signed_in_browser(app, alice)
    answer = browser.open(path, method=method, base_url=ORIGIN, headers={"Origin": ORIGIN})
    assert answer.status_code == 403
    assert "This page is for administrators" in answer.text
    assert "olga" not in answer.text


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_who_is_signed_out_is_led_to_the_sign_in(app: Flask, method: str, path: str) -> None:
    """And comes back afterwards."""
    answer = app.test_client().open(
        path, method=method, base_url=ORIGIN, headers={"Origin": ORIGIN}
    )
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/login" + ("?next=/admin" if method == "GET" else "")


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:5173", "null", None])
def test_another_site_does_nothing_in_an_administrators_name(
    make_app: MakeApp, alice: str, origin: str | None
) -> None:
    """Not even one that is listed."""
    app = make_app(FOXTROT_ORIGINS="http://localhost:5173")
    admin = signed_in_browser(app, add_user(app, "olga@example.com", "admin"))
    headers = {"Origin": origin} if origin else {}
    path = path_of(app, alice, "disable")
    assert admin.post(path, base_url=ORIGIN, headers=headers).status_code == 403
    with app.app_context():
        assert find_user(app, alice).disabled_at is None


def test_an_access_token_does_not_open_it(app: Flask) -> None:
    """The page is for browsers; the header is not looked at."""
    token = sign_in(app, add_user(app, "olga@example.com", "admin"))["access_token"]
    assert get(app.test_client(), "/admin", token).status_code == 303


def test_who_is_an_administrator_no_more_is_refused_at_once(app: Flask, admin: FlaskClient) -> None:
    """What a user may is asked of the database each time."""
    with app.app_context():
        users.set_scopes(find_user(app, "olga@example.com"), [], SOMEWHERE)
    assert get(admin, "/admin").status_code == 403


def test_only_administrators_are_shown_the_way(app: Flask, alice: str, admin: FlaskClient) -> None:
    """On the account page."""
    assert 'href="/admin"' in get(admin, "/account").text
    assert 'href="/admin"' not in get(signed_in_browser(app, alice), "/account").text


# What they do


@on_both_databases
def test_disabling_keeps_a_user_out_at_once(app: Flask, alice: str, admin: FlaskClient) -> None:
    """And the event says which administrator it was."""
    tokens = sign_in(app, alice)
    answer = submit(admin, path_of(app, alice, "disable"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin")
    assert "The account is disabled" in text_of(admin)
    assert not is_accepted(app, tokens["access_token"])
    disabled, ended = all_events(app)[-2:]
    assert (disabled.name, ended.name) == ("user.disabled", "session.ended")
    assert disabled.user == user_id(app, alice)
    assert disabled.actor == ended.actor == user_id(app, "olga@example.com")


@on_both_databases
def test_enabling_lets_a_user_in_again(app: Flask, alice: str, admin: FlaskClient) -> None:
    """Who was disabled signs in anew."""
    submit(admin, path_of(app, alice, "disable"))
    submit(admin, path_of(app, alice, "enable"))
    assert sign_in(app, alice)
    event = next(one for one in all_events(app) if one.name == "user.enabled")
    assert event.actor == user_id(app, "olga@example.com")


@on_both_databases
def test_ending_the_sessions_of_a_user(app: Flask, alice: str, admin: FlaskClient) -> None:
    """All of them, and nobody else's."""
    tokens = sign_in(app, alice)
    assert "1 session ·" in text_of(admin, f"/admin?q={alice}")
    submit(admin, path_of(app, alice, "end-sessions"))
    assert not is_accepted(app, tokens["access_token"])
    assert "no sessions ·" in text_of(admin, f"/admin?q={alice}")


def test_ending_ones_own_sessions_leads_to_the_sign_in(app: Flask, admin: FlaskClient) -> None:
    """The one in use is among them."""
    answer = submit(admin, path_of(app, "olga@example.com", "end-sessions"))
    assert answer.headers["Location"] == "/login?next=/admin"


def test_the_search_is_kept(app: Flask, alice: str, admin: FlaskClient) -> None:
    """Whoever works through a list goes on in it."""
    answer = submit(admin, path_of(app, alice, "end-sessions"), q="ali", after="u_x")
    assert answer.headers["Location"] == "/admin?q=ali&after=u_x"


def test_a_user_sees_that_it_was_an_administrator(
    app: Flask, alice: str, admin: FlaskClient
) -> None:
    """And not which, or from where."""
    submit(admin, path_of(app, alice, "end-sessions"))
    submit(admin, path_of(app, alice, "disable"))
    submit(admin, path_of(app, alice, "enable"))
    text = text_of(signed_in_browser(app, alice), "/account")
    assert "The account was disabled by the operator An administrator ·" in text
    assert "olga" not in text


@pytest.mark.parametrize("action", ["disable", "enable", "end-sessions"])
@pytest.mark.parametrize("user", ["u_x", "%00", "%ff", "é", "x" * 500])
def test_a_user_who_is_not_there_is_404(admin: FlaskClient, action: str, user: str) -> None:
    """Deleted meanwhile, or made up."""
    assert submit(admin, f"/admin/users/{user}/{action}").status_code == 404


# Nobody is locked out by a slip


def test_nobody_disables_themselves(app: Flask, admin: FlaskClient) -> None:
    """Also not while there are others."""
    add_user(app, "second@example.com", "admin")
    answer = submit(admin, path_of(app, "olga@example.com", "disable"))
    assert answer.status_code == 409
    assert "This is your own account" in answer.text
    assert get(admin, "/admin").status_code == 200


@on_both_databases
def test_the_last_administrator_stays(app: Flask, admin: FlaskClient) -> None:
    """Two who disable each other at the same moment: the later one is refused."""
    add_user(app, "second@example.com", "admin")
    first, second = user_id(app, "olga@example.com"), user_id(app, "second@example.com")
    submit(admin, f"/admin/users/{second}/disable")
    with app.app_context(), pytest.raises(LockOut, match="last administrator"):
        administration.disable(first, Client("", "", actor=second))


# What it shows


def test_users_are_found_by_a_part_of_the_address(app: Flask, admin: FlaskClient) -> None:
    """However it is written; a sign that means something to SQL means itself."""
    for email in ("Ann.Lee@example.com", "a_b@example.com", "axb@example.com"):
        add_user(app, email)
    assert addresses_on(get(admin, "/admin?q=ANN.l").text) == ["Ann.Lee@example.com"]
    assert addresses_on(get(admin, "/admin?q=a_b").text) == ["a_b@example.com"]
    assert addresses_on(get(admin, "/admin?q=%25").text) == []
    assert "No user is found" in text_of(admin, "/admin?q=nobody")


@on_both_databases
@pytest.mark.parametrize(
    "search", ["q=%00", "q=%ff", "q='--", "q=" + "x" * 2000, "after=%00", "after=u_x", "after=é"]
)
def test_no_search_is_too_much(admin: FlaskClient, search: str) -> None:
    """Whatever is typed."""
    assert get(admin, f"/admin?{search}").status_code == 200


@on_both_databases
def test_users_come_a_page_at_a_time(app: Flask, admin: FlaskClient) -> None:
    """The newest first, each once, whoever is added meanwhile."""
    made = [add_user(app, f"person{number}@example.com") for number in range(25)]
    seen, path = [], "/admin?q=person"
    while path:
        html = get(admin, path).text
        seen += addresses_on(html)
        add_user(app, f"person-later{len(seen)}@example.com")
        older = re.search(r'href="([^"]+)">Older users', html)
        path = unescape(older[1]) if older else ""
    assert seen == list(reversed(made))


def test_what_somebody_calls_themselves_is_text(app: Flask, admin: FlaskClient) -> None:
    """Addresses and searches are escaped."""
    add_user(app, '"<script>"@example.com'.replace('"<script>"', "'x&y'"))
    html = get(admin, "/admin?q=%22%3E%3Cscript%3E").text
    assert "<script>" not in html
    assert "&#39;x&amp;y&#39;@example.com" in get(admin, "/admin").text


def test_services_and_keys_are_shown(app: Flask, admin: FlaskClient) -> None:
    """With their scopes, and with what happens to a key when."""
    with app.app_context():
        services.add("nightly", SOMEWHERE, may=["notes:read"])
    text = text_of(admin)
    assert re.search(r"notes s_\w{26} asks for notes:read notes:write", text)
    assert re.search(r"nightly has a secret s_\w{26} may use notes:read", text)
    assert re.search(r"published ES256 · stand-by, may sign from 20\d\d-", text)
    assert re.search(r"active ES256 · signs since 20\d\d-", text)


@on_both_databases
def test_sign_ins_are_counted_by_day(app: Flask, alice: str) -> None:
    """In UTC, for thirty days; what is older or something else does not count."""
    now = utcnow().replace(hour=0, minute=30)
    with app.app_context():
        with transaction():
            audit.record(Event.LOGIN_SUCCEEDED, SOMEWHERE, now=now)
            for hours in (1, 1, 30 * 24):
                audit.record(Event.LOGIN_FAILED, SOMEWHERE, now=now - timedelta(hours=hours))
            accounts.disable(find_user(app, alice), SOMEWHERE, now)
        days = administration.sign_ins(now)
    assert len(days) == administration.DAYS
    assert days[-1].day == now.date()
    assert [(day.succeeded, day.failed) for day in days[-2:]] == [(0, 2), (1, 0)]
    assert sum(day.succeeded + day.failed for day in days) == 3


def test_a_day_that_is_over_is_counted_once(app: Flask) -> None:
    """Today is counted each time, and so is yesterday in the hour after it."""
    now = utcnow().replace(hour=0, minute=30)

    def counted_after(*hours_ago: int) -> list[int]:
        for hours in hours_ago:
            audit.record(Event.LOGIN_FAILED, SOMEWHERE, now=now - timedelta(hours=hours))
        return [day.failed for day in administration.sign_ins(now)[-3:]]

    with app.app_context():
        assert counted_after(0, 1, 25) == [1, 1, 1]
        assert counted_after(0, 1, 25) == [1, 2, 2]


def test_the_plot_is_drawn_by_the_server(app: Flask, alice: str, admin: FlaskClient) -> None:
    """As SVG with a title, a description and a table of the same numbers; no style, no script."""
    sign_in(app, alice)
    html = get(admin, "/admin").text
    (svg,) = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert 'role="img" aria-labelledby="chart-title chart-text"' in svg
    assert "2 sign-ins succeeded and 0 failed" in svg
    assert len(re.findall(r"<rect class=.succeeded", svg)) == 1
    assert html.count('<th scope="row">') == administration.DAYS
    assert "style=" not in html
    assert "<script" not in html


@pytest.mark.parametrize("most", [0, 1, 3, 7, 10, 99, 100, 101, 12_345, 1_000_000])
def test_every_bar_is_inside_the_plot(most: int) -> None:
    """However many there are, and the numbers beside it are whole."""
    today = utcnow().date()
    days = [administration.SignIns(today, most, 0), administration.SignIns(today, most // 2, most)]
    drawn = chart.of_sign_ins(days)
    assert all(bar.y >= 0 and bar.y + bar.height <= drawn.floor + 0.1 for bar in drawn.bars)
    assert all(bar.x + bar.width <= drawn.width for bar in drawn.bars)
    assert drawn.numbers[0].text == "0"
    assert len(drawn.numbers) == 5
