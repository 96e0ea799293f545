"""Which sessions have ended, as the services get it: the claim in a token, and the list.

The list is read by the very code that services have, and by the keys that are published.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from app import accounts, sessions, status_lists, tokens, users
from app.db import db, transaction, utcnow
from app.sessions import Ending, LoginSession
from app.status_lists import KEEP, SIZE, EndedRange, Publisher
from foxtrot import InvalidToken, JWKSet, SharedSecret, Verifier
from foxtrot.status_list import MEDIA_TYPE, StatusList, read
from tests.conftest import MakeApp, find_user, on_both_databases
from tests.sessions.conftest import delete
from tests.support import (
    ORIGIN,
    PASSWORD,
    SOMEWHERE,
    access_token,
    claims_of,
    get,
    header_of,
    log_in,
    post_json,
)

SECRET = "kS8vYq3LzT5nWb0RcJ7mXd2HfGpA9uEo"
Bit = Callable[[str], int]


def place_in(token: str) -> tuple[str, int]:
    place = claims_of(token)["status"]["status_list"]
    return place["uri"], place["idx"]


def fetch(client: FlaskClient, token: str, **headers: str) -> TestResponse:
    """The list that a token points into."""
    path = place_in(token)[0].removeprefix(ORIGIN)
    answer: TestResponse = client.get(path, base_url=ORIGIN, headers=headers)
    return answer


@pytest.fixture
def bit(app: Flask, client: FlaskClient) -> Bit:
    """What a list that is fetched now says of a token."""

    def of(token: str) -> int:
        app.extensions["foxtrot_status_lists"]._lists.clear()  # as if a second had passed
        return status_of(client, token)

    return of


def status_of(client: FlaskClient, token: str) -> int:
    uri, index = place_in(token)
    keys = JWKSet(get(client, "/.well-known/jwks.json").get_json())
    answer = fetch(client, token)
    assert answer.status_code == 200, answer.text
    return read(answer.text, uri, ORIGIN, (keys,), now=time.time()).statuses[index]


# What is published


@on_both_databases
def test_a_live_session_is_not_in_the_list(client: FlaskClient, alice: str, bit: Bit) -> None:
    """Its bit is 0, and so are those of the places that nobody has yet."""
    assert bit(access_token(client, alice)) == 0


def test_a_token_names_its_place(app: Flask, client: FlaskClient, alice: str) -> None:
    """By the number of its session, and all tokens of a session the same."""
    answer = log_in(client, alice).get_json()
    renewed = post_json(client, "/auth/refresh", {"refresh_token": answer["refresh_token"]})
    with app.app_context():
        session = sessions.find(claims_of(answer["access_token"])["sid"])
        assert session is not None
        assert place_in(answer["access_token"]) == (f"{ORIGIN}/status-lists/0", session.id)
    assert place_in(renewed.get_json()["access_token"]) == place_in(answer["access_token"])


def test_a_list_is_for_machines_and_for_everybody(client: FlaskClient, alice: str) -> None:
    """Its media type, and headers that let anybody keep it and have it asked for anew."""
    answer = fetch(client, access_token(client, alice))
    assert answer.content_type == MEDIA_TYPE
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Set-Cookie" not in answer.headers


def test_a_list_says_how_long_it_is_good(client: FlaskClient, alice: str) -> None:
    """Sections 4.2 and 5.1 of the draft, with zlib level 6."""
    answer = fetch(client, access_token(client, alice)).text
    claims = claims_of(answer)
    assert header_of(answer)["typ"] == "statuslist+jwt"
    assert claims["exp"] - claims["iat"] == 86_400
    assert claims["ttl"] == 10
    assert claims["status_list"] == StatusList(1, bytes(SIZE // 8)).encode(level=6)


@pytest.mark.parametrize("number", ["1", "99999999999999999999999999"])
def test_a_list_in_which_nobody_has_a_place_is_not_found(client: FlaskClient, number: str) -> None:
    """Strangers cannot make the service build lists without end."""
    answer = get(client, f"/status-lists/{number}")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")


def test_who_has_the_list_gets_304(app: Flask, client: FlaskClient, alice: str, bit: Bit) -> None:
    """Until somebody's session ends."""
    token = access_token(client, alice)
    first = fetch(client, token)
    again = fetch(client, token, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = log_in(client, alice).get_json()["refresh_token"]
    post_json(client, "/auth/logout", {"refresh_token": other})
    assert bit(token) == 0
    assert fetch(client, token, If_None_Match=first.headers["ETag"]).status_code == 200


# Every ending


def other_session(client: FlaskClient, email: str) -> str:
    return access_token(client, email, audience=ORIGIN)


def password_change(app: Flask, client: FlaskClient, email: str, token: str) -> None:
    new = {"current_password": PASSWORD, "new_password": "another sentence of several words"}
    other = other_session(client, email)
    answer = post_json(client, "/api/me/password", new, Authorization=f"Bearer {other}")
    assert answer.status_code == 204


def by_rule(call: Callable[[Any], object]) -> Callable[..., None]:
    """An ending of all that a user has, by an operator."""

    def end(app: Flask, client: FlaskClient, email: str, token: str) -> None:
        with app.app_context():
            call(find_user(app, email))

    return end


def of_session(app: Flask, client: FlaskClient, email: str, token: str) -> None:
    with app.app_context():
        session = sessions.find(claims_of(token)["sid"])
        assert session is not None
        sessions.end(session, Ending.ENDED_BY_OPERATOR, SOMEWHERE)


ENDINGS: dict[str, Callable[..., object]] = {
    "by its own token": lambda app, client, email, token: delete(
        client, f"/api/sessions/{claims_of(token)['sid']}", token
    ),
    "from another session": lambda app, client, email, token: delete(
        client, "/api/sessions?except=current", other_session(client, email)
    ),
    "everywhere": lambda app, client, email, token: delete(
        client, "/api/sessions", other_session(client, email)
    ),
    "by a password change": password_change,
    "by the operator": of_session,
    "by the operator, all of a user": by_rule(
        lambda user: sessions.end_all(user, Ending.ENDED_BY_OPERATOR, SOMEWHERE)
    ),
    "by disabling the user": by_rule(lambda user: accounts.disable(user, SOMEWHERE)),
    "by deleting the user": by_rule(lambda user: accounts.delete(user, SOMEWHERE)),
    "with everything": by_rule(lambda user: accounts.end_everything(SOMEWHERE)),
}


@on_both_databases
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_published(
    ending: str, app: Flask, client: FlaskClient, alice: str, bob: str, bit: Bit
) -> None:
    """And no other session's, but where all end."""
    hers, his = access_token(client, alice), access_token(client, bob)
    ENDINGS[ending](app, client, alice, hers)
    assert bit(hers) == 1
    assert bit(his) == (ending == "with everything")


def test_a_user_who_is_enabled_again_gets_new_sessions_only(
    app: Flask, client: FlaskClient, alice: str, bit: Bit
) -> None:
    """What ended stays ended."""
    token = access_token(client, alice)
    with app.app_context():
        accounts.disable(find_user(app, alice), SOMEWHERE)
        users.enable(find_user(app, alice), SOMEWHERE)
    assert bit(token) == 1
    assert bit(access_token(client, alice)) == 0


def test_the_command_keeps_a_deleted_users_sessions_ended(
    app: Flask, client: FlaskClient, alice: str, bit: Bit
) -> None:
    """Their rows are gone, their tokens are not."""
    token = access_token(client, alice)
    result = app.test_cli_runner().invoke(args=["users", "delete", alice, "--yes"])
    assert result.exit_code == 0, result.output
    with app.app_context():
        assert db.session.query(LoginSession).count() == 0
    assert bit(token) == 1


# For how long


def published_at(app: Flask, now: datetime) -> Callable[[str], int]:
    """What a worker that is asked at that time says of a token."""
    with app.app_context():
        publisher = Publisher(tokens.status_list_key, tokens.sign_status_list)
        lst = claims_of(publisher.get(0, now).token)["status_list"]
    statuses = StatusList.decode(lst)
    return lambda token: statuses[place_in(token)[1]]


@pytest.mark.parametrize("gone", [False, True], ids=["a user's session", "a deleted user's"])
def test_a_session_stays_in_the_list_for_as_long_as_a_token_may_live(
    gone: bool, app: Flask, client: FlaskClient, alice: str
) -> None:
    """A day is the longest that the setting permits; with the leeway of a verifier."""
    token, now = access_token(client, alice), utcnow()
    with app.app_context():
        end = accounts.delete if gone else accounts.disable
        end(find_user(app, alice), SOMEWHERE, now)
    assert timedelta(days=1, seconds=60) <= KEEP
    assert published_at(app, now + KEEP - timedelta(seconds=1))(token) == 1
    assert published_at(app, now + KEEP + timedelta(seconds=1))(token) == 0


# Built once a second


def test_a_list_is_built_once_a_second(app: Flask, client: FlaskClient, alice: str) -> None:
    """Whoever asks in between gets the same one; a second later, the new one."""
    access_token(client, alice)
    with app.app_context():
        now = utcnow()
        first = status_lists.published(0, now)
        accounts.disable(find_user(app, alice), SOMEWHERE, now)
        assert status_lists.published(0, now + timedelta(seconds=0.9)) is first
        assert status_lists.published(0, now + timedelta(seconds=1)).etag != first.etag


def test_who_asks_while_a_list_is_built_gets_the_new_one(app: Flask, alice: str) -> None:
    """Many services ask at the same moment; none may get what is older than a second."""
    with app.app_context():
        token = access_token(app.test_client(), alice)
        now, old = utcnow(), status_lists.published(0, utcnow())
        accounts.disable(find_user(app, alice), SOMEWHERE, now)

    def ask(_: int) -> str:
        with app.app_context():
            return status_lists.published(0, now + timedelta(seconds=9)).etag

    with ThreadPoolExecutor(20) as pool:
        tags = set(pool.map(ask, range(40)))
    assert len(tags) == 1
    assert old.etag not in tags
    assert status_of(app.test_client(), token) == 1


def test_a_list_that_did_not_change_is_not_signed_again(app: Flask) -> None:
    """Until an hour has begun; then its `exp` is far away once more."""
    with app.app_context():
        now = utcnow().replace(minute=0, second=0)
        texts = [
            status_lists.published(0, now + timedelta(seconds=seconds)).token
            for seconds in (0, 2, 3590, 3600)
        ]
    assert texts[0] == texts[1] == texts[2] != texts[3]


def test_two_workers_call_the_same_list_by_the_same_tag(make_app: MakeApp, alice: str) -> None:
    """Though each signs it for itself, who has one's list need not get the other's."""
    clients = [make_app().test_client() for _ in range(2)]
    token = access_token(clients[0], alice)
    tags = [fetch(client, token).headers["ETag"] for client in clients]
    assert tags[0] == tags[1]


def test_the_last_list_is_given_while_the_database_is_down(
    app: Flask, client: FlaskClient, alice: str, data_dir: Path
) -> None:
    """With 200, or 304 for who has it; a list that was never built is 503."""
    token, now = access_token(client, alice), utcnow()
    with app.app_context():
        last = status_lists.published(0, now)
        db.engine.dispose()
    file = data_dir / "foxtrot.sqlite3"
    file.rename(data_dir / "away")
    for path in data_dir.glob("foxtrot.sqlite3-*"):
        path.unlink()
    file.mkdir()
    with app.app_context():
        for seconds in (2, 60, 3600):
            assert status_lists.published(0, now + timedelta(seconds=seconds)).token == last.token
        app.extensions["foxtrot_status_lists"]._lists.clear()
    assert fetch(client, token).status_code == 503


# Numbers are never given again


@on_both_databases
def test_the_place_of_a_deleted_users_session_is_given_to_nobody(
    app: Flask, client: FlaskClient, alice: str, bob: str, bit: Bit
) -> None:
    """Not even that of the newest session."""
    hers = access_token(client, alice)
    with app.app_context():
        accounts.delete(find_user(app, alice), SOMEWHERE)
    his = access_token(client, bob)
    assert place_in(his) != place_in(hers)
    assert (bit(hers), bit(his)) == (1, 0)


def test_after_a_backup_was_restored_lost_sessions_are_ended(
    make_app: MakeApp, alice: str, data_dir: Path, tmp_path: Path
) -> None:
    """As docs/operate.md says: nobody gets their places, and their tokens are refused."""
    client = make_app().test_client()
    before = access_token(client, alice)
    file, backup = data_dir / "foxtrot.sqlite3", tmp_path / "backup"
    with sqlite3.connect(file) as live, sqlite3.connect(backup) as copy:
        live.backup(copy)
    lost = [access_token(client, alice) for _ in range(3)]
    restored = restore(make_app, backup, data_dir)
    ended = restored.test_cli_runner().invoke(args=["sessions", "end", "--everything"])
    assert ended.exit_code == 0, ended.output
    client = restored.test_client()
    after = access_token(client, alice)
    assert place_in(after) not in [place_in(token) for token in [before, *lost]]
    assert [status_of(client, token) for token in [before, *lost, after]] == [1, 1, 1, 1, 0]


def restore(make_app: MakeApp, backup: Path, data_dir: Path) -> Flask:
    """Put a backup in the place of the database, while the service is stopped."""
    for path in data_dir.glob("foxtrot.sqlite3*"):
        path.unlink()
    shutil.copy(backup, data_dir / "foxtrot.sqlite3")
    return make_app()


@on_both_databases
def test_the_numbers_skip_what_may_have_been_given(
    app: Flask, client: FlaskClient, alice: str, bit: Bit
) -> None:
    """A whole list at least, each time; and the new list exists at once."""
    places = []
    for _ in range(3):
        token = access_token(client, alice)
        assert bit(token) == 0
        places.append(place_in(token))
        with app.app_context():
            accounts.end_everything(SOMEWHERE)
        assert bit(token) == 1
    assert len({uri for uri, _ in places}) == 3
    with app.app_context():
        assert db.session.query(EndedRange).count() == 1


@on_both_databases
def test_the_first_session_after_all_were_lost_has_a_new_place(app: Flask, alice: str) -> None:
    """A backup of the first day has never had a session."""
    with app.app_context():
        accounts.end_everything(SOMEWHERE)
        session = sessions.start(find_user(app, alice), SOMEWHERE)
        assert session.id >= SIZE


# A shared secret, and kinds of tokens


def test_with_a_shared_secret_the_list_is_signed_by_it(make_app: MakeApp, alice: str) -> None:
    """Services that know nothing but the secret can verify it."""
    client = make_app(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SECRET).test_client()
    token = access_token(client, alice)
    uri, index = place_in(token)
    answer = fetch(client, token).text
    found = read(answer, uri, ORIGIN, (SharedSecret(SECRET),), now=time.time())
    assert found.statuses[index] == 0


def test_a_list_opens_nothing_and_a_token_is_no_list(client: FlaskClient, alice: str) -> None:
    """TOK-10: kinds of tokens cannot be swapped, though one key signs both."""
    token = access_token(client, alice)
    listed = fetch(client, token).text
    keys = JWKSet(get(client, "/.well-known/jwks.json").get_json())
    assert get(client, "/api/me", listed).get_json()["reason"] == "wrong_type"
    with pytest.raises(InvalidToken, match="not an access token"):
        Verifier(ORIGIN, "notes", keys=[keys]).verify(listed)
    with pytest.raises(ValueError, match="no status list"):
        read(token, place_in(token)[0], ORIGIN, (keys,), now=time.time())


# A million


MANY = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000000)
INSERT INTO login_sessions (id, public_id, user_id, address, user_agent, authenticated_at,
    created_at, last_seen_at, ended_at)
SELECT n, 's_' || n, :user, '', '', :now, :now, :now, NULL FROM numbers
"""
SOME_ENDED = "UPDATE login_sessions SET ended_at = :now WHERE id = :id"


def test_a_million_sessions_of_which_ten_thousand_ended(app: Flask, alice: str) -> None:
    """Under 64 KB, and built without a look at those that live.

    Measured against packing the same bytes alone; bench/status_list.py has the figure.
    """
    with app.app_context():
        now, user = utcnow(), find_user(app, alice)
        with transaction():
            moment = int(now.timestamp() * 1e6)
            db.session.execute(text(MANY), {"user": user.id, "now": moment})
            ended = [{"id": n, "now": moment} for n in Random(1).sample(range(1, 10**6), 10_000)]
            db.session.execute(text(SOME_ENDED), ended)
        first, spent = timed(app, now)
        again, _ = timed(app, now)
    client = app.test_client()
    whole = get(client, "/status-lists/0")
    known = {"If-None-Match": whole.headers["ETag"]}
    assert (whole.status_code, len(whole.data) < 64 * 1024) == (200, True)
    assert get(client, "/status-lists/0", headers=known).status_code == 304
    assert len(first.token) < 64 * 1024
    statuses = StatusList.decode(claims_of(first.token)["status_list"])
    assert sum(map(int.bit_count, statuses.data)) == 10_000
    assert first.etag == again.etag
    packing = min(processor_seconds(lambda: zlib.compress(statuses.data, 6)) for _ in range(5))
    assert spent < 10 * packing


def timed(app: Flask, now: datetime) -> tuple[status_lists.Published, float]:
    """Build the first list as a worker that was just started, and give the processor time."""
    spent = []
    for _ in range(5):
        publisher = Publisher(tokens.status_list_key, tokens.sign_status_list)
        start = time.process_time()
        published = publisher.get(0, now)
        spent.append(time.process_time() - start)
    return published, min(spent)


def processor_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
