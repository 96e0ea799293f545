"""What stands in an access token, how long its session lives, and what it cannot stand in for."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import links, login, sessions, tokens, users
from app.db import db
from app.errors import InvalidScope, InvalidTarget, NotFound
from app.sessions import Ending, LoginSession
from foxtrot import Verifier
from foxtrot.claims import Token
from tests.conftest import MakeApp, add_service, add_user, begin_session, find_user
from tests.support import (
    ORIGIN,
    PASSWORD,
    SOMEWHERE,
    access_token,
    bearer,
    claims_of,
    get,
    header_of,
    log_in,
    post_json,
    submit,
)

COOKIE = "foxtrot_session"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
SHARED_SECRET = "Zq3vT8mW1xYb6KdR0hLs9PfGc2NjU5Ae"

TYPES = {
    "iss": str,
    "sub": str,
    "uid": str,
    "aud": list,
    "iat": int,
    "nbf": int,
    "exp": int,
    "jti": str,
    "sid": str,
    "scope": str,
    "client_id": str,
    "auth_time": int,
    "status": dict,
}


@pytest.fixture
def claims(client: FlaskClient, alice: str) -> dict[str, Any]:
    """The claims of a token of Alice's."""
    return claims_of(access_token(client, alice))


def start(email: str, now: datetime = NOON) -> tuple[LoginSession, str]:
    """A session that began at *now*, with its cookie; to be called in an app context."""
    user = users.by_email(email)
    assert user is not None
    return begin_session(user, now)


def mint(email: str, now: datetime = NOON, **wanted: Any) -> dict[str, Any]:
    """The claims of a token that was minted at *now*; to be called in an app context."""
    return claims_of(tokens.mint(start(email, now)[0], tokens.Wish(**wanted), now=now).text)


# Header and claims (RFC 7519, RFC 9068)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_the_header_names_algorithm_key_and_type(fresh: MakeApp, algorithm: str) -> None:
    """And nothing else; the key is one of the JWK Set, bound to that algorithm."""
    app = fresh(FOXTROT_ALGORITHM=algorithm)
    client = app.test_client()
    header = header_of(access_token(client, add_user(app, "alice@example.com")))
    assert (header["alg"], header["typ"]) == (algorithm, "at+jwt")
    assert header.keys() == {"alg", "typ", "kid"}
    keys = get(client, "/.well-known/jwks.json").get_json()["keys"]
    assert [key["alg"] for key in keys if key["kid"] == header["kid"]] == [algorithm]


def test_a_token_holds_these_claims_and_no_others(claims: dict[str, Any]) -> None:
    """Each of the type that the RFC gives it."""
    assert {name: type(value) for name, value in claims.items()} == TYPES
    assert all(isinstance(name, str) for name in claims["aud"])


def test_the_issuer_is_our_url(claims: dict[str, Any]) -> None:
    """As the metadata and every verifier spell it."""
    assert claims["iss"] == ORIGIN


def test_the_subject_is_the_id_and_not_the_address(
    claims: dict[str, Any], app: Flask, alice: str
) -> None:
    """`uid`, the claim of the original article, always equals it."""
    with app.app_context():
        assert claims["sub"] == claims["uid"] == find_user(app, alice).public_id
    assert re.fullmatch(r"u_[0-9a-z]{26}", claims["sub"])


def test_the_names_of_token_and_session_are_of_their_own_kind(claims: dict[str, Any]) -> None:
    """So that one is not taken for another at a glance."""
    assert re.fullmatch(r"t_[0-9a-z]{26}", claims["jti"])
    assert re.fullmatch(r"s_[0-9a-z]{26}", claims["sid"])


def test_a_token_was_asked_for_by_this_service(claims: dict[str, Any]) -> None:
    """A login by password is nobody else's client."""
    assert claims["client_id"] == "foxtrot"


def test_a_token_is_good_from_the_second_it_was_issued(app: Flask, alice: str) -> None:
    """`nbf` and `iat` are whole seconds, rounded down."""
    with app.app_context():
        claims = mint(alice, NOON + timedelta(milliseconds=999))
    assert claims["iat"] == claims["nbf"] == int(NOON.timestamp())


@pytest.mark.parametrize(("setting", "seconds"), [("10", 10), ("15m", 900), ("24h", 86_400)])
def test_a_token_lives_as_long_as_the_setting_says(
    make_app: MakeApp, setting: str, seconds: int
) -> None:
    """And the answer says the same."""
    app = make_app(FOXTROT_ACCESS_TOKEN_LIFETIME=setting)
    body = log_in(app.test_client(), add_user(app, "alice@example.com")).get_json()
    claims = claims_of(body["access_token"])
    assert claims["exp"] - claims["iat"] == body["expires_in"] == seconds


def test_the_longest_lifetime_is_one_that_verifiers_accept(make_app: MakeApp) -> None:
    """A setting cannot make tokens that every service refuses."""
    app = make_app(FOXTROT_ACCESS_TOKEN_LIFETIME="24h")
    client = app.test_client()
    token = access_token(client, add_user(app, "alice@example.com"))
    assert get(client, "/api/me", token).status_code == 200


@pytest.mark.parametrize(("used_ago", "seconds"), [(50, 10), (0, 60)])
def test_no_token_outlives_a_session_that_is_not_used_any_more(
    make_app: MakeApp, used_ago: int, seconds: int
) -> None:
    """A session that runs out by itself is in no status list; none of its tokens is good then."""
    app = make_app(FOXTROT_SESSION_IDLE_LIMIT="60s")
    alice = add_user(app, "alice@example.com")
    with app.app_context():
        session, _ = start(alice)
        minted = tokens.mint(session, now=NOON + timedelta(seconds=used_ago))
    claims = claims_of(minted.text)
    assert claims["exp"] - claims["iat"] == minted.expires_in == seconds


def test_no_token_outlives_the_absolute_limit_of_its_session(make_app: MakeApp) -> None:
    """A refresh just before the end gives a token for what is left."""
    app = make_app(FOXTROT_SESSION_ABSOLUTE_LIMIT="1h", FOXTROT_SESSION_IDLE_LIMIT="1h")
    alice = add_user(app, "alice@example.com")
    with app.app_context():
        first = login.with_tokens(alice, PASSWORD, SOMEWHERE, now=NOON)
        assert first.refresh_token is not None
        late = NOON + timedelta(minutes=59)
        renewed = login.refresh(first.refresh_token, SOMEWHERE, now=late).access_token
    assert claims_of(renewed.text)["exp"] == int((NOON + timedelta(hours=1)).timestamp())
    assert renewed.expires_in == 60


def test_auth_time_is_when_the_person_signed_in(app: Flask, alice: str) -> None:
    """Not when the token was minted."""
    with app.app_context():
        session, _ = start(alice)
        claims = claims_of(tokens.mint(session, now=NOON + DAY).text)
    assert claims["auth_time"] == int(NOON.timestamp())
    assert claims["iat"] == claims["auth_time"] + 86_400


def test_two_tokens_of_one_second_differ(app: Flask, alice: str) -> None:
    """By their id."""
    with app.app_context():
        session, _ = start(alice)
        ids = {claims_of(tokens.mint(session, now=NOON).text)["jti"] for _ in range(50)}
    assert len(ids) == 50


def test_a_token_holds_no_secret(app: Flask, client: FlaskClient, alice: str) -> None:
    """No address, no password, no hash, no cookie."""
    body = {"email": alice, "password": PASSWORD, "session": "cookie"}
    token = post_json(client, "/auth/login", body, Origin=ORIGIN).get_json()["access_token"]
    cookie = client.get_cookie(COOKIE)
    text = str(claims_of(token)) + str(header_of(token))
    with app.app_context():
        hashed = find_user(app, alice).password_hash
    assert cookie is not None
    for secret in (alice, "alice", "@", PASSWORD, hashed, "scrypt", cookie.value):
        assert secret not in text


def test_the_audience_keeps_the_order_of_the_services(app: Flask, alice: str) -> None:
    """The issuer first, then the oldest, however they were asked for."""
    client = app.test_client()
    for name in ("zoo", "billing"):
        add_service(app, name)
    assert claims_of(access_token(client, alice))["aud"] == [ORIGIN, "notes", "zoo", "billing"]
    token = access_token(client, alice, audience=["billing", "zoo"])
    assert claims_of(token)["aud"] == ["zoo", "billing"]


def test_an_audience_named_like_the_issuer_is_the_issuer(make_app: MakeApp) -> None:
    """A service cannot share our name, and so not our scopes, when the public URL becomes its."""
    url = "https://login.example.com"
    add_service(make_app(), url)
    app = make_app(FOXTROT_PUBLIC_URL=url)
    token = access_token(app.test_client(), add_user(app, "alice@example.com"))
    assert claims_of(token)["aud"] == [url, "notes"]


@pytest.mark.parametrize("wanted", [[], ["unknown"], ["notes", "unknown"]], ids=str)
def test_an_unknown_audience_is_refused(app: Flask, alice: str, wanted: list[str]) -> None:
    """By the rule itself, whatever a door lets through."""
    with app.app_context(), pytest.raises(InvalidTarget):
        mint(alice, audience=wanted)


@pytest.mark.parametrize("wanted", [["admin"], ["account"], ["notes:read", "x"]], ids=str)
def test_a_scope_that_does_not_fit_is_refused(app: Flask, alice: str, wanted: list[str]) -> None:
    """A token for several parties carries no scope that means something here."""
    with app.app_context(), pytest.raises(InvalidScope):
        mint(alice, scope=wanted)


# With one shared secret (HS256)


@pytest.fixture
def sharing(make_app: MakeApp) -> Flask:
    """An app whose services share a secret with it."""
    return make_app(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SHARED_SECRET)


def test_services_that_share_a_secret_get_tokens_signed_with_it(sharing: Flask) -> None:
    """Without a `kid`: there is only the one."""
    token = access_token(sharing.test_client(), add_user(sharing, "alice@example.com"))
    assert header_of(token) == {"alg": "HS256", "typ": "at+jwt"}
    assert Verifier(ORIGIN, "notes", secret=SHARED_SECRET).verify(token)


def test_a_token_for_us_alone_is_not_signed_with_the_shared_secret(sharing: Flask) -> None:
    """Else every holder could act as an administrator here."""
    alice = add_user(sharing, "alice@example.com")
    token = access_token(sharing.test_client(), alice, audience=ORIGIN)
    assert header_of(token)["alg"] == "ES256"


@pytest.mark.parametrize("audience", [ORIGIN, None])
def test_our_api_takes_both_kinds_of_token(sharing: Flask, audience: str | None) -> None:
    """The starter mode is as good for reading who one is."""
    client = sharing.test_client()
    token = access_token(client, add_user(sharing, "alice@example.com"), audience=audience)
    assert get(client, "/api/me", token).status_code == 200


# What a token may do here


def judged(scopes: str, audience: tuple[str, ...], algorithm: str = "ES256") -> Token:
    """A token as the verifier hands it on."""
    claims = {"sub": "u_1", "iss": ORIGIN, "aud": audience, "scope": scopes}
    return Token.of({**claims, "iat": 0, "exp": 900}, algorithm, leeway=0)


EFFECTIVE = [
    ("admin notes:read", (ORIGIN,), "ES256", "admin notes:read"),
    ("admin notes:read", (ORIGIN, "notes"), "ES256", "notes:read"),
    ("admin notes:read", ("notes", ORIGIN), "ES256", "notes:read"),
    ("admin account notes:read", (ORIGIN,), "HS256", "notes:read"),
    ("notes:delete", (ORIGIN,), "ES256", ""),
    ("", (ORIGIN,), "ES256", ""),
]


@pytest.mark.parametrize(("scopes", "audience", "algorithm", "granted"), EFFECTIVE, ids=str)
def test_own_scopes_count_only_in_a_token_for_us_alone(
    app: Flask, scopes: str, audience: tuple[str, ...], algorithm: str, granted: str
) -> None:
    """Even if a token says more, because a service forged it with a shared secret."""
    root = add_user(app, "root@example.com", "admin")
    with app.app_context():
        token = judged(scopes, audience, algorithm)
        assert tokens.effective_scopes(token, find_user(app, root)) == {*granted.split()}


def test_a_token_may_do_no_more_than_its_user_now(app: Flask) -> None:
    """Scopes that were taken away do not count any more."""
    root = add_user(app, "root@example.com", "admin")
    with app.app_context():
        user = find_user(app, root)
        users.set_scopes(user, [], SOMEWHERE)
        assert tokens.effective_scopes(judged("admin account", (ORIGIN,)), user) == {"account"}


# The operator's hook

HOOK = """
seen = []

def add(user):
    seen.append(dict(user))
    return {"tenant": "fuchsbau", "groups": ["a", "b"], "level": 3}

def overwrite(user):
    names = "iss sub uid aud iat nbf exp jti sid scope client_id auth_time status cnf act may_act"
    return {"tenant": "fuchsbau", **{name: "mallory" for name in names.split()}}

def change(user):
    user["id"] = user["email"] = "mallory"
    user["scopes"].append("admin")
    return {}
"""


@pytest.fixture
def hooked(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Flask]]:
    """Build an app whose operator wrote a hook."""
    (tmp_path / "operators_hook.py").write_text(HOOK)
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda function: make_app(FOXTROT_CLAIMS_HOOK=f"operators_hook:{function}")
    sys.modules.pop("operators_hook", None)


def hooked_claims(app: Flask) -> dict[str, Any]:
    return claims_of(access_token(app.test_client(), add_user(app, "alice@example.com")))


def test_the_hook_adds_claims(hooked: Callable[[str], Flask]) -> None:
    """Of any type that JSON has."""
    claims = hooked_claims(hooked("add"))
    assert claims.keys() - TYPES.keys() == {"tenant", "groups", "level"}
    assert (claims["tenant"], claims["groups"], claims["level"]) == ("fuchsbau", ["a", "b"], 3)


def test_the_hook_is_told_who_the_token_is_for(hooked: Callable[[str], Flask]) -> None:
    """Id, address and scopes; nothing that is secret."""
    claims = hooked_claims(hooked("add"))
    scopes = ["account", "notes:read", "notes:write"]
    told = sys.modules["operators_hook"].seen
    assert told == [{"id": claims["sub"], "email": "alice@example.com", "scopes": scopes}]


def test_the_hook_cannot_overwrite_a_claim(hooked: Callable[[str], Flask]) -> None:
    """Neither those that every token has nor those that mean something to a verifier."""
    claims = hooked_claims(hooked("overwrite"))
    assert "mallory" not in claims.values()
    assert claims.keys() == TYPES.keys() | {"tenant"}


def test_the_hook_cannot_change_the_user(hooked: Callable[[str], Flask]) -> None:
    """It is handed copies."""
    app = hooked("change")
    claims = hooked_claims(app)
    with app.app_context():
        user = find_user(app, "alice@example.com")
        assert (user.public_id, "admin" in user.scopes) == (claims["sub"], False)


def test_a_token_with_added_claims_is_good(hooked: Callable[[str], Flask]) -> None:
    """The own API takes it like any other."""
    app = hooked("overwrite")
    client = app.test_client()
    token = access_token(client, add_user(app, "alice@example.com"))
    assert get(client, "/api/me", token).status_code == 200


# How long a session lives

LIMITS = {"FOXTROT_SESSION_IDLE_LIMIT": "2d", "FOXTROT_SESSION_ABSOLUTE_LIMIT": "5d"}


@pytest.fixture
def limited(make_app: MakeApp, alice: str) -> Flask:
    """Sessions end after two idle days, and after five in any case."""
    return make_app(**LIMITS)


@pytest.mark.parametrize(
    ("age", "lives"),
    [(timedelta(0), True), (2 * DAY - MINUTE, True), (2 * DAY, False), (9 * DAY, False)],
)
def test_an_idle_session_ends(limited: Flask, alice: str, age: timedelta, lives: bool) -> None:
    """To the second, by its cookie as by its tokens."""
    with limited.app_context():
        session, secret = start(alice)
        named = session.public_id, session.user.public_id
        assert (sessions.by_public_id(*named, now=NOON + age) is not None) == lives
        assert (sessions.by_secret(secret, SOMEWHERE, NOON + age) is not None) == lives


def test_use_of_the_cookie_keeps_a_session_alive(limited: Flask, alice: str) -> None:
    """Idle is counted from the last use."""
    with limited.app_context():
        _, secret = start(alice)
        assert sessions.by_secret(secret, SOMEWHERE, NOON + 1.5 * DAY)
        assert sessions.by_secret(secret, SOMEWHERE, NOON + 3 * DAY)


def test_no_use_keeps_a_session_alive_for_ever(limited: Flask, alice: str) -> None:
    """The absolute limit is counted from the sign-in."""
    with limited.app_context():
        _, secret = start(alice)
        lives = [sessions.by_secret(secret, SOMEWHERE, NOON + day * DAY) for day in range(7)]
    assert [session is not None for session in lives] == [True] * 5 + [False] * 2


def test_a_session_that_ended_by_age_does_not_come_back(limited: Flask, alice: str) -> None:
    """Asking for it after the end is no use of it."""
    with limited.app_context():
        _, secret = start(alice)
        assert sessions.by_secret(secret, SOMEWHERE, NOON + 3 * DAY) is None
        assert sessions.by_secret(secret, SOMEWHERE, NOON + 3 * DAY + MINUTE) is None


@pytest.mark.parametrize(
    ("after", "seen"), [(59, 0), (60, 60), (3600, 3600)], ids=["59 s", "a minute", "an hour"]
)
def test_the_last_use_is_noted_once_a_minute(
    limited: Flask, alice: str, after: int, seen: int
) -> None:
    """Not with every request, which would write each time."""
    with limited.app_context():
        session, secret = start(alice)
        sessions.by_secret(secret, SOMEWHERE, NOON + timedelta(seconds=after))
        db.session.expire_all()
        assert session.last_seen_at == NOON + timedelta(seconds=seen)


def test_a_short_limit_is_kept_alive_by_use(make_app: MakeApp, alice: str) -> None:
    """The last use is noted often enough even where a session may idle for a minute only."""
    with make_app(FOXTROT_SESSION_IDLE_LIMIT="1m").app_context():
        _, secret = start(alice)
        moments = [NOON + timedelta(seconds=20 * step) for step in range(10)]
        assert all(sessions.by_secret(secret, SOMEWHERE, now) for now in moments)


def test_ending_a_session_again_changes_nothing(app: Flask, alice: str) -> None:
    """It ended when it ended."""
    with app.app_context():
        session, _ = start(alice)
        sessions.end(session, Ending.SIGNED_OUT, SOMEWHERE, NOON + MINUTE)
        sessions.end(session, Ending.SIGNED_OUT, SOMEWHERE, NOON + DAY)
        assert session.ended_at == NOON + MINUTE


def test_a_session_is_found_only_with_its_own_subject(app: Flask, alice: str, bob: str) -> None:
    """The claims `sid` and `sub` must belong together."""
    with app.app_context():
        session, _ = start(alice)
        other = find_user(app, bob).public_id
        assert sessions.by_public_id(session.public_id, other, NOON) is None


def test_a_session_without_a_cookie_has_none_that_fits(app: Flask, alice: str) -> None:
    """A program's session cannot be entered with an empty or a guessed cookie."""
    with app.app_context():
        sessions.start(find_user(app, alice), SOMEWHERE, now=NOON)
        assert [sessions.by_secret(text, SOMEWHERE, NOON) for text in ("", "None", "null")] == [
            None
        ] * 3


def test_the_secret_of_a_cookie_is_not_stored(app: Flask, alice: str) -> None:
    """Who reads the database cannot enter."""
    with app.app_context():
        session, secret = start(alice)
        assert secret not in str(vars(session))
        assert sessions.by_secret(str(session.secret_hash), SOMEWHERE, NOON) is None


# One kind of secret in the place of another

KINDS = ["cookie", "setup link", "reset link", "access token", "jti", "sid", "subject"]


@pytest.fixture
def kinds(app: Flask, client: FlaskClient, alice: str) -> dict[str, str]:
    """One good thing of each kind, all of Alice's."""
    submit(client, "/login", email=alice, password=PASSWORD)
    cookie = client.get_cookie(COOKIE)
    token = post_json(client, "/auth/token", {}, Origin=ORIGIN).get_json()["access_token"]
    claims = claims_of(token)
    with app.app_context():
        setup, reset = links.make(links.SETUP), links.make(links.RESET, find_user(app, alice))
    assert cookie is not None
    values = [cookie.value, setup, reset, token, claims["jti"], claims["sid"], claims["sub"]]
    return dict(zip(KINDS, values, strict=True))


def opens_as_cookie(client: FlaskClient, secret: str) -> bool:
    client.set_cookie(COOKIE, secret)
    return post_json(client, "/auth/token", {}, Origin=ORIGIN).status_code == 200


def opens_as_token(client: FlaskClient, secret: str) -> bool:
    return client.get("/api/me", headers=bearer(secret), base_url=ORIGIN).status_code == 200


def opens_as_setup(client: FlaskClient, secret: str) -> bool:
    return client.get("/setup", query_string={"token": secret}, base_url=ORIGIN).status_code == 200


def opens_as_reset(client: FlaskClient, secret: str) -> bool:
    return client.get("/reset", query_string={"token": secret}, base_url=ORIGIN).status_code == 200


def sets_up(client: FlaskClient, secret: str) -> bool:
    fields = {"email": "new@example.com", "password": PASSWORD, "token": secret}
    return submit(client, "/setup", **fields).status_code == 303


def resets(client: FlaskClient, secret: str) -> bool:
    return submit(client, "/reset", password=PASSWORD, token=secret).status_code == 303


def opens_as_password(client: FlaskClient, secret: str) -> bool:
    return log_in(client, "alice@example.com", secret).status_code == 200


PLACES: dict[str, tuple[Callable[[FlaskClient, str], bool], str | None]] = {
    "cookie": (opens_as_cookie, "cookie"),
    "Authorization": (opens_as_token, "access token"),
    "setup page": (opens_as_setup, "setup link"),
    "setup": (sets_up, "setup link"),
    "reset page": (opens_as_reset, "reset link"),
    "reset": (resets, "reset link"),
    "password": (opens_as_password, None),
}


@pytest.mark.parametrize("place", PLACES)
def test_each_kind_opens_its_own_place_and_no_other(
    app: Flask, kinds: dict[str, str], place: str
) -> None:
    """Every pair is tried, in a browser that holds nothing else."""
    opens, own = PLACES[place]
    opened = [kind for kind in KINDS if opens(app.test_client(), kinds[kind])]
    assert opened == ([own] if own else [])


@pytest.mark.parametrize("purpose", [links.SETUP, links.RESET])
@pytest.mark.parametrize("kind", ["cookie", "access token", "jti", "sid"])
def test_no_other_kind_is_redeemed_as_a_link(
    app: Flask, kinds: dict[str, str], purpose: str, kind: str
) -> None:
    """By the rule itself, whatever a door lets through."""
    with app.app_context(), pytest.raises(NotFound):
        links.redeem(purpose, kinds[kind])


def test_a_link_is_for_one_purpose(app: Flask, kinds: dict[str, str]) -> None:
    """The purpose is part of the look-up."""
    with app.app_context():
        for purpose, kind in ((links.SETUP, "reset link"), (links.RESET, "setup link")):
            with pytest.raises(NotFound):
                links.redeem(purpose, kinds[kind])
