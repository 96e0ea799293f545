"""Attacks on sessions, each of which once worked: what it took, in as few steps as possible."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from app import accounts, login, sessions, users
from app.db import db
from app.errors import InvalidCredentials, NotSignedIn
from app.sessions import Ending
from app.tokens import Wish
from app.views.messages import rfc3339
from tests.conftest import MakeApp, add_user, find_user, on_both_databases
from tests.sessions.conftest import (
    ELSEWHERE,
    KEY,
    NEW_PASSWORD,
    Program,
    all_events,
    refusal,
    sign_program_in,
    signed_in_browser,
)
from tests.sessions.network import Server, call
from tests.support import (
    ORIGIN,
    PASSWORD,
    SECRET_KEY,
    SOMEWHERE,
    access_token,
    cheap_settings,
    claims_of,
    get,
)
from tests.support import log_in as sign_in

LOGIN, NOTES, ALICE = "https://login.example.com", "https://notes.example.com", "alice@example.com"


@pytest.fixture
def front_end(make_app: MakeApp) -> FlaskClient:
    """A way into a house with a front end beside it, and with Alice."""
    app = make_app(FOXTROT_PUBLIC_URL=LOGIN, FOXTROT_ORIGINS=NOTES)
    add_user(app, ALICE)
    return app.test_client()


def send(client: FlaskClient, path: str, origin: str | None, **body: Any) -> TestResponse:
    headers = {} if origin is None else {"Origin": origin}
    return client.post(path, json=body, headers=headers, base_url=LOGIN)


def log_in(client: FlaskClient, origin: str | None, **wish: Any) -> TestResponse:
    return send(client, "/auth/login", origin, email=ALICE, password=PASSWORD, **wish)


def audience(answer: TestResponse) -> list[str]:
    found: list[str] = claims_of(answer.get_json()["access_token"])["aud"]
    return found


def test_a_front_end_gets_no_token_for_us_without_the_cookie_either(front_end: FlaskClient) -> None:
    """A listed origin logs in as a program would, and refreshes from anywhere it likes."""
    answer = log_in(front_end, NOTES)
    assert audience(answer) == ["notes"]
    token = answer.get_json()["refresh_token"]
    assert audience(send(front_end, "/auth/refresh", None, refresh_token=token)) == ["notes"]
    assert refusal(log_in(front_end, NOTES, audience=LOGIN)) == (400, "invalid_target")


def test_a_front_end_gets_no_token_for_us_by_a_programs_refresh_token(
    front_end: FlaskClient,
) -> None:
    """A listed origin has come by one whose session may do everything."""
    token = log_in(front_end, None).get_json()["refresh_token"]
    answer = send(front_end, "/auth/refresh", NOTES, refresh_token=token, audience=LOGIN)
    assert refusal(answer) == (400, "invalid_target")
    assert audience(send(front_end, "/auth/refresh", NOTES, refresh_token=token)) == ["notes"]


def test_a_logout_is_never_acknowledged_unread(client: FlaskClient, program: Program) -> None:
    """A body in chunks, with no type and no length, was taken for none: 204, and nothing ended."""
    body = io.BytesIO(json.dumps({"refresh_token": program.first.refresh}).encode())
    answer = client.post(
        "/auth/logout",
        input_stream=body,
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
        base_url=ORIGIN,
    )
    assert answer.status_code == 415


@on_both_databases
def test_a_thief_cannot_see_when_the_owner_renews(client: FlaskClient, program: Program) -> None:
    """Who holds a copy polled the list of sessions, and followed each renewal within 20 seconds."""

    def listed() -> list[tuple[str, str, bool]]:
        rows = get(client, "/api/sessions", program.first.access).get_json()["sessions"]
        later = rfc3339(program.began + timedelta(seconds=300))
        return [(row["id"], row["address"], row["last_seen_at"] >= later) for row in rows]

    other = sign_program_in(program.app, ALICE)
    other.refresh(other.first.refresh, 300)
    before = listed()
    program.refresh(program.first.refresh, 600, client=ELSEWHERE)
    assert listed() == before


def test_noise_does_not_hide_a_return(app: Flask, alice: str, program: Program) -> None:
    """Who came back with a stolen key failed to sign in until the person could not see it."""
    browser = signed_in_browser(app, alice)
    for at in (60, 600):
        program.refresh(program.first.refresh, at, key=KEY)
    for _ in range(31):
        sign_in(app.test_client(), alice, "wrong horse battery staple")
    page = get(browser, "/account").text
    assert "A device that had lost its connection came back" in page
    assert "A sign-in was refused" in page


@pytest.mark.parametrize(
    "path",
    [
        "/login?email=ann@example.com&password=quiet-herons",
        "/login?next=/account?current_password%3Dquiet-herons",
        "/api/me?ACCESS_TOKEN=quiet-herons",
    ],
)
def test_a_secret_in_a_url_is_not_logged(
    data_dir: Path, app: Flask, tmp_path: Path, path: str
) -> None:
    """A form that is sent by GET, or a client's mistake; our own log must not keep it."""
    with Server(cheap_settings(data_dir), tmp_path / "output") as server:
        call(f"{server.url}{path}")
    log = (tmp_path / "output").read_text()
    assert path.partition("?")[0] in log
    assert "quiet" not in log


@on_both_databases
def test_a_user_disabled_while_registering_stays_out(app: Flask) -> None:
    """The session began after the operator had ended all, and lived when they were enabled."""

    def disable(_session: Any) -> None:
        with app.app_context():
            accounts.disable(find_user(app, ALICE), SOMEWHERE)

    with app.app_context():
        event.listen(db.session, "after_commit", disable, once=True)
        secret = accounts.register_with_cookie(ALICE, PASSWORD, SOMEWHERE).secret
        users.enable(find_user(app, ALICE), SOMEWHERE)
        assert sessions.by_secret(str(secret), SOMEWHERE) is None


def test_whoever_shares_the_secret_ends_no_session_whose_token_they_never_had(
    make_app: MakeApp,
) -> None:
    """A service listed all sessions of a user, and signed a token of each, to end it by."""
    app = make_app(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SECRET_KEY)
    client, alice = app.test_client(), add_user(app, ALICE)
    other, received = (access_token(client, alice, audience=name) for name in (ORIGIN, "notes"))
    claims = {**claims_of(received), "aud": [ORIGIN, "notes"]}
    forged = jwt.encode(claims, SECRET_KEY, "HS256", headers={"typ": "at+jwt"})
    rows = get(client, "/api/sessions", forged).get_json()["sessions"]
    assert [row["id"] for row in rows] == [claims["sid"]]
    assert get(client, "/api/me", other).status_code == 200


def while_hashing(app: Flask, action: Callable[[], object]) -> None:
    """Have something happen while the next password is judged, which is when nothing is held."""

    lanes = app.extensions["foxtrot_lanes"]

    def run_later(work: Callable[[], object]) -> object:
        del lanes.run
        with app.app_context():
            action()
        return lanes.run(work)

    lanes.run = run_later


@on_both_databases
def test_a_guess_under_way_leaves_nothing_of_a_deleted_user(app: Flask, alice: str) -> None:
    """Whoever guessed without pause while the user was deleted left an event of theirs behind."""
    with app.app_context():
        while_hashing(app, lambda: users.delete(find_user(app, alice), SOMEWHERE))
        with pytest.raises(InvalidCredentials):
            login.with_cookie(alice, "wrong horse battery staple", SOMEWHERE)
    assert [(one.name, one.user is None) for one in all_events(app)] == [
        ("user.deleted", False),
        ("login.failed", True),
    ]


@on_both_databases
def test_a_session_that_is_ended_meanwhile_changes_no_password(app: Flask, alice: str) -> None:
    """An intruder's change went through after "Sign out everywhere", and locked the owner out."""
    with app.app_context():
        by = sign_program_in(app, alice)
        session = sessions.find(by.session_id)
        assert session is not None
        while_hashing(
            app,
            lambda: sessions.end_all(find_user(app, alice), Ending.ENDED_BY_USER, SOMEWHERE),
        )
        with pytest.raises(NotSignedIn):
            accounts.change_password(session, PASSWORD, NEW_PASSWORD, SOMEWHERE)
    assert sign_program_in(app, alice).is_signed_in()


@contextmanager
def watched(app: Flask) -> Iterator[list[tuple[str, int]]]:
    """What is asked of the database, and how many connections are out meanwhile."""
    seen: list[tuple[str, int]] = []
    with app.app_context():
        engine = db.engine

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append((statement, engine.pool.checkedout()))  # type: ignore[attr-defined]

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_what_is_refused_does_not_tell_whether_a_token_was_used(
    app: Flask, program: Program
) -> None:
    """A thief saw by the time it took that the owner had renewed, and then followed unseen."""
    token, wish, asked = program.first.refresh, Wish(scope=["nonsense"]), []
    for at in (1, 2):
        with watched(app) as seen:
            assert program.refusal(token, at, wish=wish) == "invalid_scope"
        asked.append(seen)
        program.refresh(token, at)
    assert asked[0] == asked[1]


def test_a_copy_is_found_out_whatever_is_asked_for(program: Program) -> None:
    """Who tries a copied token with a scope that nobody has gives themselves away, too."""
    program.refresh(program.first.refresh, 60)
    wish = Wish(scope=["nonsense"])
    assert program.refusal(program.first.refresh, 90, wish=wish) == "session_ended"
    assert not program.is_signed_in()


@on_both_databases
def test_a_refresh_for_an_unknown_service_needs_one_connection(
    app: Flask, program: Program
) -> None:
    """It held a row and wanted a second one: twenty at once stopped the service for all."""
    with watched(app) as seen:
        wish = Wish(audience=["unheard-of"])
        assert program.refusal(program.first.refresh, 60, wish=wish) == "invalid_target"
    assert {connections for _, connections in seen} == {1}
