"""Audit events: each kind is written by what it names, with who, where, when and which request."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import audit, keys, services
from app.audit import LOG_ONLY, AuditEvent, Event
from app.client import Client, operator
from app.errors import NotSignedIn
from app.secret_key import SecretKey
from tests.conftest import add_user
from tests.sessions.conftest import (
    ELSEWHERE,
    HOUR,
    KEY,
    NEW_PASSWORD,
    Lines,
    all_events,
    delete,
    sign_program_in,
    signed_in_browser,
)
from tests.support import (
    ORIGIN,
    PASSWORD,
    SOMEWHERE,
    access_token,
    get,
    log_in,
    post_json,
    submit,
)

WRONG = "wrong horse battery staple"
ALICE = "alice@example.com"

# Every name


def run(app: Flask, *arguments: str, stdin: str = "") -> None:
    result = app.test_cli_runner().invoke(args=arguments, input=stdin)
    assert result.exit_code == 0, result.output


def replay(app: Flask, at: float, key: str | None = None, client: Client = SOMEWHERE) -> None:
    program = sign_program_in(app, ALICE)
    program.refresh(program.first.refresh, 0, key=KEY)
    with suppress(NotSignedIn):
        program.refresh(program.first.refresh, at, key=key, client=client)


def dismiss_warning(app: Flask) -> None:
    replay(app, HOUR)
    browser = signed_in_browser(app, ALICE)
    shown = re.search(r'name="event" value="(\d+)"', get(browser, "/account").text)
    submit(browser, "/account/warning/dismiss", event=shown[1] if shown else "")


def stand_by(app: Flask) -> str:
    """The name of the key that will sign next."""
    with app.app_context():
        return keys.every_key()[-1].kid


def rotate_keys(app: Flask) -> None:
    """When the stand-by may sign."""
    ring, later = app.extensions["foxtrot_keys"], datetime.now(UTC) + timedelta(hours=1)
    with app.app_context():
        keys.rotate(ring.policy, ring.secret_key, operator(), later)


def rewrap_keys(app: Flask) -> None:
    """With another secret than before."""
    before = app.extensions["foxtrot_keys"].secret_key
    new = SecretKey("vQ8mZ2rT6yB1nK5cW9sX3dF7gH0jL4pA", "a test")
    new._secrets += before._secrets
    with app.app_context():
        keys.rewrap(new, operator())


def as_machine(app: Flask, path: str, secret: str | None = None, **fields: str) -> Any:
    """A machine's form, and what it is answered."""
    with app.app_context():
        worker = services.by_name("worker")
        if worker is None:
            worker, _ = services.add("worker", SOMEWHERE, may=["notes:read"])
        auth = worker.public_id, secret or services.renew_secret(worker, SOMEWHERE)
    form = {"grant_type": "client_credentials", **fields}
    answer = app.test_client().post(f"/oauth/{path}", data=form, auth=auth, base_url=ORIGIN)
    return answer.get_json(silent=True)


def disable_and_enable(app: Flask, kind: str = "users", name: str = ALICE) -> None:
    for command in ("disable", "enable"):
        run(app, kind, command, name)


def import_users(app: Flask) -> None:
    """One who is new, which is said before and after."""
    with NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write('{"email": "new@example.com"}\n')
        file.flush()
        run(app, "users", "import", file.name)


DOINGS: dict[Event, Callable[[Flask], object]] = {
    Event.USER_CREATED: lambda app: add_user(app, "new@example.com"),
    Event.USER_DISABLED: lambda app: run(app, "users", "disable", ALICE),
    Event.USER_ENABLED: disable_and_enable,
    Event.USER_DELETED: lambda app: run(app, "users", "delete", ALICE, "--yes"),
    Event.SCOPES_CHANGED: lambda app: run(app, "users", "set-scopes", ALICE, "reports:read"),
    Event.USERS_IMPORTED: import_users,
    Event.USERS_EXPORTED: lambda app: run(app, "users", "export"),
    Event.LOGIN_SUCCEEDED: lambda app: log_in(app.test_client(), ALICE),
    Event.LOGIN_FAILED: lambda app: log_in(app.test_client(), ALICE, WRONG),
    Event.LIMIT_REACHED: lambda app: [log_in(app.test_client(), ALICE, WRONG) for _ in range(21)],
    Event.USER_UNLOCKED: lambda app: run(app, "users", "unlock", ALICE),
    Event.PASSWORD_CHANGED: lambda app: run(
        app, "users", "set-password", ALICE, "--password-stdin", stdin=NEW_PASSWORD
    ),
    Event.RESET_LINK_MADE: lambda app: run(app, "users", "reset-link", ALICE),
    Event.SESSION_ENDED: lambda app: submit(signed_in_browser(app, ALICE), "/logout"),
    Event.EVERYTHING_ENDED: lambda app: run(app, "sessions", "end", "--everything"),
    Event.REFRESH_SUCCEEDED: lambda app: replay(app, 0),
    Event.REFRESH_REPLAYED: lambda app: replay(app, 10, client=ELSEWHERE),
    Event.REFRESH_RETRIED: lambda app: replay(app, HOUR, KEY),
    Event.REFRESH_REUSED: lambda app: replay(app, HOUR),
    Event.WARNING_DISMISSED: dismiss_warning,
    Event.TOKENS_ATTACKED: lambda app: app.test_cli_runner().invoke(
        args=["tokens", "attack", "http://127.0.0.1:9/", "--audience", "notes"]
    ),
    Event.KEY_ROTATED: rotate_keys,
    Event.KEY_RETIRED: lambda app: run(app, "keys", "retire", stand_by(app)),
    Event.KEY_REMOVED: lambda app: run(app, "keys", "remove", stand_by(app), "--now"),
    Event.KEYS_REWRAPPED: rewrap_keys,
    Event.SERVICE_ADDED: lambda app: run(app, "services", "add", "wiki"),
    Event.SERVICE_CHANGED: lambda app: run(app, "services", "set-scopes", "notes", "notes:all"),
    Event.SERVICE_SECRET_MADE: lambda app: run(app, "services", "secret", "notes"),
    Event.SERVICE_DISABLED: lambda app: run(app, "services", "disable", "notes"),
    Event.SERVICE_ENABLED: lambda app: disable_and_enable(app, "services", "notes"),
    Event.SERVICE_REMOVED: lambda app: run(app, "services", "remove", "notes", "--yes"),
    Event.CLIENT_SUCCEEDED: lambda app: as_machine(app, "token"),
    Event.CLIENT_REFUSED: lambda app: as_machine(app, "token", secret="wrong"),
    Event.TOKEN_REVOKED: lambda app: as_machine(
        app, "revoke", token=as_machine(app, "token")["access_token"]
    ),
}
OF_A_SERVICE = {event for event in Event if event.startswith(("service.", "client.", "token."))}


@pytest.mark.parametrize(("command", "times"), [("disable", 1), ("enable", 0)])
def test_what_changes_nothing_is_no_event(
    app: Flask, alice: str, lines: Lines, command: str, times: int
) -> None:
    """Disabling a user twice, or enabling one who never was disabled."""
    for _ in range(2):
        run(app, "users", command, alice)
    assert [line["event"] for line in lines()].count(f"user.{command}d") == times


@pytest.mark.parametrize("event", list(Event))
def test_each_event_is_written_by_what_it_names(
    app: Flask, alice: str, lines: Lines, event: Event
) -> None:
    """As one line, and as one row with the same content, but for what is too ordinary."""
    before = len(lines())
    DOINGS[event](app)
    *_, line = [line for line in lines()[before:] if line["event"] == event.value]
    rows = [audit.as_dict(row) for row in all_events(app) if row.name == event.value]
    if event in LOG_ONLY:
        assert rows == []
    else:
        assert rows[-1] == line


OF_KEYS = {event for event in Event if event.startswith("key")}
OF_MANY = {Event.EVERYTHING_ENDED, Event.USERS_IMPORTED, Event.USERS_EXPORTED}
NOT_OF_A_USER = {Event.TOKENS_ATTACKED, *OF_MANY, *OF_A_SERVICE, *OF_KEYS}
OF_A_SESSION = {
    Event.LOGIN_SUCCEEDED,
    Event.SESSION_ENDED,
    Event.REFRESH_SUCCEEDED,
    Event.REFRESH_REPLAYED,
    Event.REFRESH_RETRIED,
    Event.REFRESH_REUSED,
}


@pytest.mark.parametrize("event", list(Event))
def test_an_event_says_whose_it_is(app: Flask, alice: str, lines: Lines, event: Event) -> None:
    """The user's id, and the session's where there is one; never an e-mail address."""
    DOINGS[event](app)
    [line] = [line for line in lines() if line["event"] == event.value][-1:]
    assert ("user" in line) == (event not in NOT_OF_A_USER)
    assert ("session" in line) == (event in OF_A_SESSION)
    assert ("service" in line) == (event in OF_A_SERVICE)
    assert re.fullmatch(r"u_\w{26}", line.get("user", "u_" + "0" * 26))
    assert "@" not in str(line)


def test_an_event_has_its_time_in_utc(app: Flask, client: FlaskClient, alice: str) -> None:
    """RFC 3339, to the millisecond."""
    log_in(client, alice)
    said = audit.as_dict(all_events(app)[-1])["at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(said)).total_seconds()) < 60


@pytest.mark.parametrize("microsecond", [0, 5, 999_999])
def test_a_time_on_the_second_has_milliseconds_too(app: Flask, microsecond: int) -> None:
    """All lines are of one form."""
    moment = datetime(2030, 1, 1, 12, 0, 0, microsecond, tzinfo=UTC)
    said = audit.as_dict(AuditEvent(at=moment, name="x", address="", device="", request_id=""))
    assert len(said["at"]) == len("2030-01-01T12:00:00.000Z")


# The request


def test_an_event_says_which_request_it_was(app: Flask, client: FlaskClient, alice: str) -> None:
    """By the id that the answer had: a person can be asked for it."""
    for password in (PASSWORD, WRONG):
        answer = log_in(client, alice, password)
        assert all_events(app)[-1].request_id == answer.headers["X-Request-ID"]


def test_all_events_of_a_request_have_its_id(app: Flask, client: FlaskClient, alice: str) -> None:
    """What one request caused hangs together."""
    sessions = [log_in(client, alice) for _ in range(3)]
    token = access_token(client, alice, audience=ORIGIN)
    answer = delete(client, "/api/sessions", token)
    ended = [event for event in all_events(app) if event.name == "session.ended"]
    assert len(ended) == len(sessions) + 1
    assert {event.request_id for event in ended} == {answer.headers["X-Request-ID"]}


def test_each_request_has_an_id_of_its_own(client: FlaskClient) -> None:
    """Also one that is refused, and one that says that it has an id already."""
    headers = {"X-Request-ID": "mine"}
    answers = [get(client, path, headers=headers) for path in ("/login", "/x") * 3]
    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert len(set(ids)) == 6
    assert "mine" not in ids


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/x", 404), ("PUT", "/login", 405), ("POST", "/login", 403), ("POST", "/x" * 99, 404)],
)
def test_each_refusal_has_an_id(client: FlaskClient, method: str, path: str, status: int) -> None:
    """Whatever it was that was refused."""
    answer = client.open(path, method=method, base_url=ORIGIN)
    assert answer.status_code == status
    assert re.fullmatch(r"r_\w{26}", answer.headers["X-Request-ID"])


def test_an_event_says_where_the_request_came_from(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """The address of the connection, whatever the request claims, and the device in our words."""
    client.environ_base |= {"REMOTE_ADDR": "203.0.113.9", "HTTP_USER_AGENT": "curl/8"}
    post_json(
        client, "/auth/login", {"email": alice, "password": PASSWORD}, X_Forwarded_For="10.0.0.1"
    )
    event = all_events(app)[-1]
    assert (event.address, event.device) == ("203.0.113.9", "curl")


def test_a_command_is_the_operators(app: Flask, alice: str) -> None:
    """It has no address."""
    run(app, "users", "disable", alice)
    event = all_events(app)[-1]
    assert (event.address, event.device) == ("", "Command line of the operator")


@pytest.mark.parametrize("more", [{"audience": "nobody"}, {"scope": "admin"}])
@pytest.mark.parametrize("session", ["token", "cookie"])
def test_a_right_password_is_an_event_also_where_more_was_asked_for(
    app: Flask, more: dict[str, str], session: str
) -> None:
    """Else passwords could be tried in silence, by asking for what there is not."""
    client, body = app.test_client(), {"email": add_user(app, ALICE), "password": PASSWORD}
    answer = post_json(client, "/auth/login", {**body, **more, "session": session}, Origin=ORIGIN)
    assert answer.status_code == 400
    event = all_events(app)[-1]
    assert (event.name, event.reason) == ("login.failed", "not_granted")
    assert event.user is not None
