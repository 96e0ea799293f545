"""The example service as its users and their attackers meet it.

The tokens are made here with PyJWT, as a login service would make them; the
database is a real file. Alice owns notes, Bob is another user, Mallory attacks.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm
from werkzeug.test import TestResponse

from examples.notes import MAX_BODY_BYTES, MAX_TEXT, create_app, store
from examples.notes.store import MAX_ID
from foxtrot.flask import UndecidedRoutes

ISSUER = "https://login.example.com"
FRONT_END = "https://app.example.com"
SECRET = secrets.token_urlsafe(48)
PRIVATE_KEY = ec.generate_private_key(ec.SECP256R1())
PEM = PRIVATE_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ROOT = Path(__file__).parents[2]

any_input = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
any_text = st.text(st.characters(exclude_categories=[]))
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(st.just("text") | any_text, inner),
)


def make_token(
    subject: str,
    scope: str = "notes:read notes:write",
    *,
    key: Any = SECRET,
    algorithm: str = "HS256",
    **claims: Any,
) -> str:
    """Make an access token as the login service would."""
    now = int(time.time())
    content = {
        "iss": ISSUER,
        "aud": ["notes"],
        "sub": subject,
        "scope": scope,
        "iat": now,
        "exp": now + 900,
        "jti": secrets.token_hex(8),
    }
    headers = {"typ": "at+jwt", "kid": "key-1"}
    return jwt.encode(content | claims, key, algorithm, headers)


class Caller:
    """Somebody who calls the service with one access token."""

    def __init__(self, app: Flask, token: str) -> None:
        self._client = app.test_client()
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str = "/notes") -> TestResponse:
        return self._client.get(path, headers=self._headers)

    def post(self, body: object) -> TestResponse:
        return self.post_raw(json.dumps(body).encode())

    def post_raw(self, body: bytes, content_type: str = "application/json") -> TestResponse:
        return self._client.post(
            "/notes", data=body, content_type=content_type, headers=self._headers
        )

    def delete(self, note_id: object) -> TestResponse:
        path = f"/notes/{quote(str(note_id), safe='', errors='surrogatepass')}"
        return self._client.delete(path, headers=self._headers)

    def add(self, text: str) -> int:
        return int(self.post({"text": text}).get_json()["id"])

    def texts(self) -> list[str]:
        return [note["text"] for note in self.get("/notes?limit=100").get_json()["notes"]]


def assert_problem(response: TestResponse, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    problem = response.get_json(force=True)
    assert {"type", "title", "detail"} < problem.keys()
    assert (problem["status"], problem["code"]) == (status, code)


@pytest.fixture
def overrides(tmp_path: Path) -> dict[str, object]:
    """Settings of a service that shares a secret with the issuer."""
    return {
        "NOTES_ISSUER": ISSUER,
        "NOTES_SECRET": SECRET,
        "NOTES_DATABASE": str(tmp_path / "notes.sqlite3"),
        "NOTES_ORIGINS": f"{FRONT_END}, http://localhost:3000",
    }


@pytest.fixture
def app(overrides: dict[str, object]) -> Flask:
    return create_app(overrides)


@pytest.fixture
def alice(app: Flask) -> Caller:
    return Caller(app, make_token("u_alice"))


@pytest.fixture
def bob(app: Flask) -> Caller:
    return Caller(app, make_token("u_bob"))


@pytest.fixture
def mallory(app: Flask) -> Caller:
    return Caller(app, make_token("u_mallory"))


# Notes


def test_a_note_is_answered_when_it_was_added(alice: Caller) -> None:
    """Adding answers 201 with the note as it will be listed."""
    response = alice.post({"text": "Milk"})
    assert response.status_code == 201
    assert alice.get().get_json() == {"notes": [response.get_json()], "next": None}


def test_a_note_has_an_id_a_text_and_a_time(alice: Caller) -> None:
    """A note is an id, its text and an RFC 3339 time in UTC."""
    note = alice.post({"text": "Milk"}).get_json()
    assert note == {"id": note["id"], "text": "Milk", "created_at": note["created_at"]}
    assert time.strptime(note["created_at"], "%Y-%m-%dT%H:%M:%SZ")


def test_the_newest_note_comes_first(alice: Caller) -> None:
    """Notes are listed from the newest to the oldest."""
    alice.add("first")
    alice.add("second")
    assert alice.texts() == ["second", "first"]


def test_a_deleted_note_is_gone(alice: Caller) -> None:
    """Deleting answers 204 without a body, and the note is not listed again."""
    response = alice.delete(alice.add("Milk"))
    assert (response.status_code, response.data) == (204, b"")
    assert alice.texts() == []


def test_a_note_is_deleted_once(alice: Caller) -> None:
    """The second time there is no such note any more."""
    note_id = alice.add("Milk")
    alice.delete(note_id)
    assert_problem(alice.delete(note_id), 404, "not_found")


def test_an_id_is_never_given_again(alice: Caller) -> None:
    """The id of a deleted note cannot come to mean another one."""
    first = alice.add("Milk")
    alice.delete(first)
    assert alice.add("Bread") > first


def test_the_longest_text_is_kept_as_it_is(alice: Caller) -> None:
    """10,000 characters of any kind come back unchanged."""
    text = "\U0001f95b\n" * (MAX_TEXT // 2)
    alice.post_raw(json.dumps({"text": text}, ensure_ascii=False).encode())
    assert alice.texts() == [text]


def test_the_service_is_closed_by_default(app: Flask) -> None:
    """Its routes are decided, two of them open, and another one cannot be forgotten."""
    printed = app.test_cli_runner().invoke(args=["bearer", "routes"])
    opened = [line.split()[1] for line in printed.output.splitlines() if "anybody" in line]
    assert (printed.exit_code, opened) == (0, ["/", "/healthz"])
    with pytest.raises(UndecidedRoutes, match="GET /export"):
        app.add_url_rule("/export", view_func=lambda: store.page("u_alice", MAX_ID, 20)[0])


def test_notes_outlive_a_restart(alice: Caller, overrides: dict[str, object]) -> None:
    """A service started again on the same file has the same notes."""
    alice.add("Milk")
    assert Caller(create_app(overrides), make_token("u_alice")).texts() == ["Milk"]


def test_notes_added_at_once_are_all_kept(app: Flask, alice: Caller) -> None:
    """20 threads adding at the same time lose nothing."""
    callers = [Caller(app, make_token("u_alice")) for _ in range(20)]
    texts = [str(number) for number in range(100)]
    with ThreadPoolExecutor(20) as pool:
        ids = list(pool.map(lambda n: callers[int(n) % 20].add(n), texts))
    assert len(set(ids)) == 100
    assert sorted(alice.texts()) == sorted(texts)


def test_the_database_is_a_file_with_a_write_ahead_log(
    app: Flask, overrides: dict[str, object]
) -> None:
    """Readers do not wait for writers."""
    with closing(sqlite3.connect(str(overrides["NOTES_DATABASE"]))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# Pages


def test_pages_follow_each_other(alice: Caller) -> None:
    """Following `next` meets each note once and ends with null."""
    for number in range(5):
        alice.add(str(number))
    texts, path = [], "/notes?limit=2"
    while path:
        answer = alice.get(path).get_json()
        texts.append([note["text"] for note in answer["notes"]])
        path = answer["next"] and f"/notes?limit=2&after={answer['next']}"
    assert texts == [["4", "3"], ["2", "1"], ["0"]]


def test_a_full_last_page_has_no_next(alice: Caller) -> None:
    """There is no cursor that leads to an empty page."""
    alice.add("1")
    alice.add("2")
    assert alice.get("/notes?limit=2").get_json()["next"] is None


def test_a_cursor_outlives_its_note(alice: Caller) -> None:
    """Adding notes and deleting the one a cursor names moves nobody's place."""
    alice.add("old")
    cursor = alice.add("seen")
    alice.add("new")
    alice.delete(cursor)
    assert alice.get(f"/notes?after={cursor}").get_json()["notes"][0]["text"] == "old"


def test_a_page_has_20_notes_without_a_wish(alice: Caller) -> None:
    """The list is never answered whole by accident."""
    for number in range(21):
        alice.add(str(number))
    assert len(alice.get().get_json()["notes"]) == 20


@pytest.mark.parametrize("limit", ["0", "-1", "101", "1e3", "two", "", "٣", "9" * 5000])
def test_an_impossible_limit_is_refused(alice: Caller, limit: str) -> None:
    """A page has 1 to 100 notes."""
    assert_problem(alice.get(f"/notes?limit={limit}"), 400, "invalid_request")


@given(cursor=any_text)
@any_input
def test_any_cursor_is_answered(alice: Caller, cursor: str) -> None:
    """A cursor of the caller's own making never breaks the service."""
    response = alice.get(f"/notes?after={quote(cursor, errors='surrogatepass')}")
    assert response.status_code in (200, 400)


# Whose notes


def test_a_user_sees_only_their_own_notes(alice: Caller, bob: Caller) -> None:
    """Alice's notes are not in Bob's list."""
    alice.add("Alice's")
    bob.add("Bob's")
    assert bob.texts() == ["Bob's"]


def test_a_cursor_of_somebody_else_opens_nothing(alice: Caller, mallory: Caller) -> None:
    """The list stays Mallory's own wherever it starts."""
    note_id = alice.add("Alice's")
    assert mallory.get(f"/notes?after={note_id + 1}").get_json()["notes"] == []


def test_somebody_elses_note_cannot_be_deleted(alice: Caller, mallory: Caller) -> None:
    """Mallory's attempt leaves Alice's note where it is."""
    mallory.delete(alice.add("Alice's"))
    assert alice.texts() == ["Alice's"]


def test_somebody_elses_note_looks_missing(alice: Caller, mallory: Caller) -> None:
    """The answer does not tell Mallory which ids exist."""
    theirs, missing = mallory.delete(alice.add("Alice's")), mallory.delete(MAX_ID)
    assert_problem(theirs, 404, "not_found")
    assert theirs.data == missing.data


def test_a_subject_is_data(app: Flask, alice: Caller) -> None:
    """A subject that looks like SQL owns its own notes and no others."""
    alice.add("Alice's")
    assert Caller(app, make_token("' OR 1=1 --")).texts() == []


# Access


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/notes"), ("POST", "/notes"), ("DELETE", "/notes/1")]
)
def test_nothing_is_done_without_a_token(app: Flask, method: str, path: str) -> None:
    """No route that touches notes is open."""
    response = app.test_client().open(path, method=method)
    assert_problem(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="notes"'


def test_each_route_is_guarded_unless_named_here(app: Flask) -> None:
    """A route that somebody adds later is closed, or it stands in this list."""
    anonymous = app.test_client()
    opened = set()
    for rule in app.url_map.iter_rules():
        for method in set(rule.methods or ()) - {"OPTIONS"}:
            if anonymous.open(rule.rule, method=method).status_code != 401:
                opened.add(rule.rule)
    assert opened == {"/", "/healthz"}


def test_reading_is_not_writing(app: Flask, alice: Caller) -> None:
    """With notes:read alone nothing is added or deleted."""
    note_id = alice.add("Milk")
    reader = Caller(app, make_token("u_alice", "notes:read"))
    assert_problem(reader.post({"text": "Bread"}), 403, "insufficient_scope")
    assert_problem(reader.delete(note_id), 403, "insufficient_scope")
    assert reader.texts() == ["Milk"]


def test_writing_is_not_reading(app: Flask) -> None:
    """With notes:write alone nothing is listed."""
    writer = Caller(app, make_token("u_alice", "notes:write"))
    assert_problem(writer.get(), 403, "insufficient_scope")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": ["billing"]}, "wrong_audience"),
        ({"iss": "https://evil.example.com"}, "wrong_issuer"),
        ({"iat": 1_000_000_000, "exp": 1_000_000_900}, "expired"),
        ({"key": "another-secret-of-more-than-32-bytes"}, "bad_signature"),
    ],
)
def test_a_bad_token_is_refused(app: Flask, claims: dict[str, Any], reason: str) -> None:
    """Mallory's token of another service, issuer, time or key opens nothing."""
    response = Caller(app, make_token("u_alice", **claims)).get()
    assert_problem(response, 401, "invalid_token")
    assert response.get_json(force=True)["reason"] == reason


@pytest.mark.parametrize("path", ["/", "/healthz"])
def test_the_front_door_is_open(app: Flask, path: str) -> None:
    """What the service is and whether it lives is told to anybody."""
    response = app.test_client().get(path)
    assert (response.status_code, response.content_type) == (200, "application/json")


# Bad input


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "Milk",
        {},
        {"text": None},
        {"text": ""},
        {"text": 1},
        {"text": ["Milk"]},
        {"text": "x" * (MAX_TEXT + 1)},
        {"text": "a\0b"},
        {"text": "\ud800"},
        {"text": "Milk", "owner": "u_alice"},
    ],
)
def test_a_body_that_is_no_note_is_refused(mallory: Caller, body: object) -> None:
    """What is not a text of 1 to 10,000 storable characters is not kept."""
    assert_problem(mallory.post(body), 400, "invalid_request")
    assert mallory.texts() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\0",
        b"\xff",
        b'{"text": Milk}',
        b"[" * 60_000,
        b"[" * 1000 + b"]" * 1000,
        b'{"text":' * 1000 + b"1" + b"}" * 1000,
        b'{"text":' + b"9" * 60_000 + b"}",
    ],
)
def test_a_body_that_is_no_json_is_refused(mallory: Caller, body: bytes) -> None:
    """Broken, deep or monstrous JSON is the caller's mistake and not the service's."""
    assert_problem(mallory.post_raw(body), 400, "invalid_request")


def test_an_unknown_field_is_named(alice: Caller) -> None:
    """Who misspells a field is told which."""
    assert "'txet'" in alice.post({"text": "Milk", "txet": ""}).get_json(force=True)["detail"]


def test_a_body_over_64_kb_is_refused(mallory: Caller) -> None:
    """A large body is not even read."""
    assert_problem(mallory.post({"text": "x" * MAX_BODY_BYTES}), 413, "too_large")


def test_a_body_of_another_type_is_refused(mallory: Caller) -> None:
    """A form of another site cannot be taken for JSON."""
    response = mallory.post_raw(b'{"text": "Milk"}', "text/plain")
    assert_problem(response, 415, "unsupported_media_type")


@given(body=any_json)
@any_input
def test_any_json_is_kept_or_refused(mallory: Caller, body: object) -> None:
    """Whatever JSON comes, it is a note that can be listed, or 400."""
    response = mallory.post(body)
    if response.status_code == 201:
        assert body == {"text": mallory.get().get_json()["notes"][0]["text"]}
    else:
        assert_problem(response, 400, "invalid_request")


@given(text=any_text)
@any_input
def test_any_text_is_kept_unchanged_or_refused(mallory: Caller, text: str) -> None:
    """A text comes back as it was given, to the last character."""
    if mallory.post({"text": text}).status_code == 201:
        assert mallory.get("/notes?limit=1").get_json()["notes"][0]["text"] == text
    else:
        assert not text or "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text)


@given(body=st.binary())
@any_input
def test_any_bytes_are_refused_or_json(mallory: Caller, body: bytes) -> None:
    """No bytes in a body make the service fail."""
    assert mallory.post_raw(body).status_code in (201, 400)


@given(note_id=any_text.filter(lambda text: "/" not in text and text not in ("", ".", "..")))
@any_input
def test_any_id_is_answered(mallory: Caller, note_id: str) -> None:
    """An id of the caller's own making is a missing note."""
    assert_problem(mallory.delete(note_id), 404, "not_found")


@pytest.mark.parametrize("note_id", [0, -1, MAX_ID, 2**63, 10**30, "9" * 5000, "1.0", "1e0", "٣"])
def test_an_impossible_id_is_a_missing_note(mallory: Caller, note_id: object) -> None:
    """No number is too large to be answered."""
    assert_problem(mallory.delete(note_id), 404, "not_found")


def test_an_unknown_path_is_a_problem_document(app: Flask) -> None:
    """404 has the shape of every other error."""
    assert_problem(app.test_client().get("/nope"), 404, "not_found")


def test_a_wrong_method_is_told_the_right_ones(app: Flask) -> None:
    """405 has the shape of every other error, and names what is allowed."""
    response = app.test_client().put("/notes")
    assert_problem(response, 405, "method_not_allowed")
    assert set(response.allow) == {"GET", "HEAD", "OPTIONS", "POST"}


# Front ends


def preflight(app: Flask, origin: str) -> TestResponse:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return app.test_client().options("/notes", headers=headers)


@pytest.mark.parametrize("origin", [FRONT_END, "http://localhost:3000"])
def test_a_listed_front_end_may_send_a_token(app: Flask, origin: str) -> None:
    """The preflight passes without a token and allows the Authorization header."""
    response = preflight(app, origin)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert response.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    assert response.headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE"


@pytest.mark.parametrize("path", ["/", "/notes", "/nope"])
def test_a_listed_front_end_may_read_answers_and_errors(app: Flask, path: str) -> None:
    """Without the header on a 401, a front end could not tell it from a broken network."""
    response = app.test_client().get(path, headers={"Origin": FRONT_END})
    assert response.headers["Access-Control-Allow-Origin"] == FRONT_END
    assert "WWW-Authenticate" in response.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", f"{FRONT_END}.evil.example", "null"])
def test_another_site_may_not(app: Flask, origin: str) -> None:
    """A site that is not listed gets no permission, at the preflight or after it."""
    answers = [preflight(app, origin), app.test_client().get("/", headers={"Origin": origin})]
    assert not any(name.startswith("Access-Control") for a in answers for name, _ in a.headers)


def test_cookies_are_never_asked_for(app: Flask) -> None:
    """Front ends send a token; credentials of the browser stay out of it."""
    assert "Access-Control-Allow-Credentials" not in preflight(app, FRONT_END).headers


@pytest.mark.parametrize("origin", [None, FRONT_END, "https://evil.example"])
def test_caches_keep_origins_apart(app: Flask, origin: str | None) -> None:
    """An answer for one origin, or for none, is not given to another."""
    response = app.test_client().get("/", headers={"Origin": origin} if origin else {})
    assert response.headers["Vary"] == "Origin"


# Settings


def test_a_public_key_is_enough(overrides: dict[str, object]) -> None:
    """With one public key the service verifies and can issue nothing."""
    app = create_app(overrides | {"NOTES_SECRET": None, "NOTES_PUBLIC_KEY": PEM})
    token = make_token("u_alice", key=PRIVATE_KEY, algorithm="ES256")
    assert Caller(app, token).get().status_code == 200


@pytest.fixture
def issuer() -> Iterator[str]:
    """The URL of an issuer that publishes its metadata and keys, and nothing else."""
    jwk = ECAlgorithm.to_jwk(PRIVATE_KEY.public_key(), as_dict=True) | {"kid": "key-1"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            metadata = {"issuer": url, "jwks_uri": f"{url}/jwks"}
            document = {"keys": [jwk]} if self.path == "/jwks" else metadata
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield url
        server.shutdown()


def test_public_keys_are_found_at_the_issuer(overrides: dict[str, object], issuer: str) -> None:
    """Without a secret the issuer's URL is all that the service has to know."""
    app = create_app(overrides | {"NOTES_SECRET": None, "NOTES_ISSUER": issuer})
    token = make_token("u_alice", key=PRIVATE_KEY, algorithm="ES256", iss=issuer)
    assert Caller(app, token).get().status_code == 200


def test_a_secret_opens_nothing_where_public_keys_are_used(
    overrides: dict[str, object], issuer: str
) -> None:
    """Mallory cannot choose the algorithm."""
    app = create_app(overrides | {"NOTES_SECRET": None, "NOTES_ISSUER": issuer})
    assert_problem(Caller(app, make_token("u_alice", iss=issuer)).get(), 401, "invalid_token")


def test_nothing_is_done_while_no_key_can_be_had(overrides: dict[str, object]) -> None:
    """Before the issuer was reached once, the service fails closed and says when to retry."""
    app = create_app(overrides | {"NOTES_SECRET": None, "NOTES_ISSUER": "http://127.0.0.1:1"})
    response = Caller(app, make_token("u_alice", key=PRIVATE_KEY, algorithm="ES256")).get()
    assert_problem(response, 503, "unavailable")
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    "name", ["NOTES_ISSUER", "NOTES_AUDIENCE", "NOTES_SECRET", "NOTES_PUBLIC_KEY", "NOTES_DATABASE"]
)
def test_an_empty_setting_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, overrides: dict[str, object], name: str
) -> None:
    """A secret that was meant and got lost never turns into another mode."""
    monkeypatch.setenv(name, "")
    overrides.pop(name, None)
    with pytest.raises(ValueError, match=f"{name} is empty"):
        create_app(overrides)


@pytest.mark.parametrize("secret", ["foxtrot", "too-short"])
def test_a_weak_secret_stops_the_start(overrides: dict[str, object], secret: str) -> None:
    """A secret that can be guessed is no secret."""
    with pytest.raises(ValueError, match="secret"):
        create_app(overrides | {"NOTES_SECRET": secret})


@pytest.mark.parametrize("origins", ["*", f"{FRONT_END}/", "app.example.com", "null"])
def test_an_origin_that_matches_nothing_stops_the_start(
    overrides: dict[str, object], origins: str
) -> None:
    """A slip in NOTES_ORIGINS is told at once and not found in a browser's console."""
    with pytest.raises(ValueError, match="NOTES_ORIGINS"):
        create_app(overrides | {"NOTES_ORIGINS": origins})


def test_settings_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, overrides: dict[str, object]
) -> None:
    """Without overrides the environment decides."""
    for name, value in overrides.items():
        monkeypatch.setenv(name, str(value))
    assert Caller(create_app(), make_token("u_alice")).get().status_code == 200


def test_the_documented_command_starts_it(
    monkeypatch: pytest.MonkeyPatch, overrides: dict[str, object]
) -> None:
    """`flask --app examples.notes run` from the checkout serves."""
    monkeypatch.setenv("NOTES_DATABASE", str(overrides["NOTES_DATABASE"]))
    command = [sys.executable, "-m", "flask", "--app", "examples.notes", "run", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "Running on" in line)
            with urlopen(f"{line.split()[-1]}/healthz") as answer:
                assert json.load(answer) == {"status": "ok"}
        finally:
            process.terminate()
