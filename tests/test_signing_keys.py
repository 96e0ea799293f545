"""Signing keys: kept encrypted, shown in their public half, used as the algorithm says."""

from __future__ import annotations

import hmac
import json
import re
import sqlite3
import time
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt as jose
from joserfc.jwk import KeySet, import_key

from app import keys
from app.db import utcnow
from app.errors import StartRefused
from app.keys import KeyRing
from app.secret_key import SecretKey
from app.views.access import bearer as guard
from tests.conftest import MakeApp, add_user, dispose
from tests.support import ORIGIN, access_token, claims_of, get, header_of

ALGORITHMS = ["ES256", "EdDSA", "RS256"]
SHARED = "pX7oHn4QyV0sJc8LzR2gKf5BtW9mDe1U"
SECRET = "Zq3vT8mW1xYb6KdR0hLs9PfGc2NjU5Ae"
LATER = timedelta(minutes=1)
ADMIN = "root@example.com"


def ring_of(app: Flask) -> KeyRing:
    """The app's keys."""
    ring: KeyRing = app.extensions["foxtrot_keys"]
    return ring


def private_key(app: Flask) -> Any:
    """The private key that signs now."""
    with app.app_context():
        return ring_of(app).signing_key()[1]


def jwks(app: Flask) -> list[dict[str, str]]:
    """The published keys."""
    found: list[dict[str, str]] = get(app.test_client(), "/.well-known/jwks.json").get_json()[
        "keys"
    ]
    return found


def number(member: str) -> int:
    """A number in a JWK (RFC 7518 section 2, Base64urlUInt)."""
    return int.from_bytes(urlsafe_b64decode(member + "=" * (-len(member) % 4)), "big")


def everything_in(folder: Path) -> bytes:
    """All that a thief of the disk has, but for the secret."""
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.name != "secret")


# At rest


@pytest.mark.parametrize(
    ("algorithm", "encoding", "form"),
    [
        ("ES256", Encoding.DER, PrivateFormat.PKCS8),
        ("ES256", Encoding.DER, PrivateFormat.TraditionalOpenSSL),
        ("EdDSA", Encoding.DER, PrivateFormat.PKCS8),
        ("EdDSA", Encoding.Raw, PrivateFormat.Raw),
        ("RS256", Encoding.DER, PrivateFormat.PKCS8),
    ],
)
def test_a_private_key_is_not_in_the_database_file(
    algorithm: str, encoding: Encoding, form: PrivateFormat, fresh: MakeApp, tmp_path: Path
) -> None:
    """Neither as it is nor in hexadecimal or base64 (PEM); its name is there."""
    app = fresh(FOXTROT_ALGORITHM=algorithm)
    plain = private_key(app).private_bytes(encoding, form, NoEncryption())
    stored = everything_in(tmp_path / "fresh")
    assert jwks(app)[0]["kid"].encode() in stored
    for part in (plain[-24:], plain[:48]):
        assert part not in stored
        assert part.hex().encode() not in stored
        assert b64encode(part)[:-2] not in stored


@pytest.mark.parametrize("text", [b"PRIVATE KEY", b'"d":', b'"p":', b'"k":'])
def test_nothing_in_the_database_file_looks_like_a_private_key(
    app: Flask, data_dir: Path, text: bytes
) -> None:
    """No PEM and no private JWK."""
    assert text not in everything_in(data_dir)


@pytest.mark.parametrize("shown", ["ring", "secret", "row"])
def test_no_secret_is_in_a_representation(shown: str, app: Flask, data_dir: Path) -> None:
    """What a debugger or a log line shows."""
    secret = (data_dir / "secret").read_text()
    row = keys.SigningKey(kid="k", algorithm="ES256", private_key=b"hush", public_jwk="{}")
    said = repr({"ring": ring_of(app), "secret": SecretKey(secret, "x"), "row": row}[shown])
    assert secret not in said
    assert "hush" not in said


def spoil(data_dir: Path, change: str) -> None:
    """Change the stored signing key behind the service's back."""
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as database:
        database.execute(f"UPDATE signing_keys SET {change} WHERE id = 1")
        database.commit()


@pytest.mark.parametrize(
    "change",
    [
        "kid = 'another'",
        "private_key = x''",
        "private_key = substr(private_key, 1, 40)",
        "private_key = CAST(substr(private_key, 1, 60) || x'00' AS BLOB)",
    ],
    ids=["renamed", "emptied", "cut", "one byte"],
)
def test_a_stored_key_that_was_changed_is_refused(
    change: str, make_app: MakeApp, data_dir: Path
) -> None:
    """Encryption is bound to the key's name and notices every change."""
    spoil(data_dir, change)
    with pytest.raises(StartRefused, match="does not open signing key"):
        make_app()


def test_a_setting_that_does_not_fit_the_database_is_named(make_app: MakeApp, app: Flask) -> None:
    """With the key that it does not open, and without its value."""
    jwk, _ = jwks(app)
    with pytest.raises(StartRefused, match="FOXTROT_SECRET_KEY") as caught:
        make_app(FOXTROT_SECRET_KEY=SECRET)
    assert jwk["kid"] in str(caught.value)
    assert SECRET not in str(caught.value)


# Derived keys


def test_each_purpose_has_a_key_of_its_own() -> None:
    """So that what is made for one cannot be used for another (RFC 5869)."""
    secret = SecretKey(SECRET, "a test")
    derived = [secret.derive(purpose) for purpose in ("key wrapping v1", "key wrapping v2", "x")]
    assert len(set(derived)) == 3
    assert all(len(key) == 32 for key in derived)
    assert SECRET.encode() not in derived


def test_a_derived_key_is_the_same_at_every_start() -> None:
    """Otherwise nothing could be opened again."""
    assert SecretKey(SECRET, "here").derive("x") == SecretKey(SECRET, "there").derive("x")


def test_another_secret_gives_another_key() -> None:
    """For the same purpose."""
    assert SecretKey(SECRET, "x").derive("x") != SecretKey(SHARED, "x").derive("x")


# The JWK Set

MEMBERS = {
    "ES256": {"kty", "crv", "x", "y", "kid", "use", "alg"},
    "EdDSA": {"kty", "crv", "x", "kid", "use", "alg"},
    "RS256": {"kty", "n", "e", "kid", "use", "alg"},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_set_shows_public_members_only(algorithm: str, fresh: MakeApp) -> None:
    """RFC 7517, and one algorithm and one use for each key (RFC 8725 section 3.1)."""
    jwk, _ = jwks(fresh(FOXTROT_ALGORITHM=algorithm))
    assert jwk.keys() == MEMBERS[algorithm]
    assert (jwk["use"], jwk["alg"]) == ("sig", algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_is_named_by_its_thumbprint(algorithm: str, fresh: MakeApp) -> None:
    """RFC 7638, as another library computes it."""
    jwk, _ = jwks(fresh(FOXTROT_ALGORITHM=algorithm))
    bare = {name: value for name, value in jwk.items() if name != "kid"}
    assert import_key(bare).thumbprint() == jwk["kid"]  # type: ignore[arg-type]  # it takes any JWK


def test_an_rsa_key_is_strong(fresh: MakeApp) -> None:
    """3072 bits for 128 bits of strength, and the usual exponent."""
    jwk, _ = jwks(fresh(FOXTROT_ALGORITHM="RS256"))
    assert number(jwk["n"]).bit_length() == 3072
    assert number(jwk["e"]) == 65537


def test_the_set_is_for_everybody_and_for_a_while(client: FlaskClient) -> None:
    """Its own media type, cacheable, without a cookie."""
    answer = client.get("/.well-known/jwks.json", base_url=ORIGIN)
    assert answer.content_type == "application/jwk-set+json"
    assert re.search(r"max-age=\d+", answer.headers["Cache-Control"])
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_another_library_verifies_tokens_with_the_set(algorithm: str, fresh: MakeApp) -> None:
    """The header names the algorithm and the key."""
    app = fresh(FOXTROT_ALGORITHM=algorithm)
    token = access_token(app.test_client(), add_user(app, "alice@example.com"))
    key_set = KeySet.import_key_set({"keys": jwks(app)})  # type: ignore[typeddict-item]
    decoded = jose.decode(token, key_set, algorithms=[algorithm])
    assert decoded.header["alg"] == algorithm
    assert decoded.header["kid"] == jwks(app)[0]["kid"]


def test_keys_stay_over_a_restart(make_app: MakeApp) -> None:
    """Tokens of before are good after."""
    assert jwks(make_app()) == jwks(make_app())


def test_after_a_change_of_algorithm_old_tokens_are_good(make_app: MakeApp) -> None:
    """The old key stays published beside the new one."""
    before = make_app()
    token = access_token(before.test_client(), add_user(before, "alice@example.com"))
    after = make_app(FOXTROT_ALGORITHM="EdDSA")
    assert [jwk["alg"] for jwk in jwks(after)] == ["ES256", "ES256", "EdDSA", "EdDSA"]
    assert get(after.test_client(), "/api/me", token).status_code == 200


# Many workers


def test_a_worker_learns_of_a_key_that_another_one_made(make_app: MakeApp) -> None:
    """Within half a minute."""
    first = make_app()
    second = make_app(FOXTROT_ALGORITHM="EdDSA")
    with first.app_context():
        ring_of(first).signing_key(utcnow() + LATER)
        assert ring_of(first).public_set() == jwks(second)


def test_a_worker_accepts_the_token_of_a_key_that_it_has_not_met(make_app: MakeApp) -> None:
    """At once: whoever just signed in must not be refused by the next worker."""
    first = make_app()
    token_before = access_token(first.test_client(), add_user(first, "alice@example.com"))
    assert get(first.test_client(), "/api/me", token_before).status_code == 200
    second = make_app(FOXTROT_ALGORITHM="EdDSA")
    token = access_token(second.test_client(), "alice@example.com")
    assert get(first.test_client(), "/api/me", token).status_code == 200


# Without the database


@contextmanager
def gone(app: Flask, folder: Path) -> Iterator[None]:
    """Take the whole data folder away for a while."""
    dispose(app)
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("no folder any more")
    yield
    folder.unlink()
    folder.with_name("elsewhere").rename(folder)


def test_known_keys_are_shown_without_the_database(app: Flask, data_dir: Path) -> None:
    """Services go on, for longer than the half minute."""
    before = jwks(app)
    with gone(app, data_dir), app.app_context():
        assert ring_of(app).signing_key(utcnow() + LATER)[0] == before[0]["kid"]
        assert jwks(app) == before


def test_new_keys_are_found_when_the_database_is_back(
    app: Flask, make_app: MakeApp, data_dir: Path
) -> None:
    """Without a restart."""
    jwks(app)
    with app.app_context():
        with gone(app, data_dir):
            ring_of(app).signing_key(utcnow() + LATER)
        make_app(FOXTROT_ALGORITHM="EdDSA")
        ring_of(app).signing_key(utcnow() + 2 * LATER)
        assert len(ring_of(app).public_set()) == 4


def test_a_database_that_hangs_delays_one_request_and_not_each(app: Flask, data_dir: Path) -> None:
    """Another process holds the file for itself; the keys known are good for the next look."""
    with app.app_context():
        ring_of(app).signing_key()
        dispose(app)
        with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3", isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode=EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            ring_of(app).signing_key(utcnow() + LATER)
            began = time.monotonic()
            ring_of(app).signing_key(utcnow() + LATER)
    assert time.monotonic() - began < 3


# One shared secret (HS256)


@pytest.fixture
def hs256(fresh: MakeApp) -> Flask:
    """The starter mode from the first start on, with an administrator."""
    app = fresh(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SHARED)
    add_user(app, ADMIN, "admin")

    @app.get("/for-admins")
    @guard.required("admin")
    def for_admins() -> str:
        return "welcome"

    return app


def test_a_token_for_services_is_signed_with_the_shared_secret(hs256: Flask) -> None:
    """Any server that shares the secret verifies it."""
    token = access_token(hs256.test_client(), ADMIN, audience="notes")
    decoded = jwt.decode(token, SHARED, ["HS256"], audience="notes")
    assert decoded["iss"] == ORIGIN
    assert header_of(token) == {"alg": "HS256", "typ": "at+jwt"}


def test_a_shared_secret_is_not_published(hs256: Flask) -> None:
    """There are no keys for the public."""
    client = hs256.test_client()
    assert get(client, "/.well-known/jwks.json").get_json() == {"keys": []}
    assert "jwks_uri" not in get(client, "/.well-known/oauth-authorization-server").get_json()


def test_with_key_pairs_the_metadata_leads_to_the_keys(client: FlaskClient) -> None:
    """RFC 8414."""
    metadata = get(client, "/.well-known/oauth-authorization-server").get_json()
    assert metadata["jwks_uri"] == f"{ORIGIN}/.well-known/jwks.json"


def test_a_token_for_this_service_alone_is_signed_with_a_key_pair(hs256: Flask) -> None:
    """No holder of the shared secret can make one."""
    token = access_token(hs256.test_client(), ADMIN, audience=ORIGIN)
    assert header_of(token)["alg"] == "ES256"
    assert claims_of(token)["aud"] == [ORIGIN]


@pytest.mark.parametrize("audience", [None, "notes", ORIGIN])
def test_every_kind_of_token_is_known_here(hs256: Flask, audience: str | None) -> None:
    """A token for services alone is for this one, too, only if it says so."""
    token = access_token(hs256.test_client(), ADMIN, audience=audience)
    expected = 401 if audience == "notes" else 200
    assert get(hs256.test_client(), "/api/me", token).status_code == expected


def test_an_administrators_own_token_is_granted_admin(hs256: Flask) -> None:
    """Signed here, for nobody else."""
    token = access_token(hs256.test_client(), ADMIN, audience=ORIGIN, scope="admin")
    assert get(hs256.test_client(), "/for-admins", token).status_code == 200


@pytest.mark.parametrize("more", [{}, {"kid": "x"}])
def test_a_forged_token_is_never_granted_admin(hs256: Flask, more: dict[str, str]) -> None:
    """Mallory runs a service that shares the secret, and has seen a token of the administrator."""
    seen = claims_of(access_token(hs256.test_client(), ADMIN, audience="notes"))
    forged = {**seen, "aud": [ORIGIN], "scope": "admin account notes:read"}
    token = jwt.encode(forged, SHARED, "HS256", headers={"typ": "at+jwt", **more})
    assert get(hs256.test_client(), "/for-admins", token).status_code in (401, 403)


def test_a_forged_token_is_refused_for_its_scope_and_nothing_else(hs256: Flask) -> None:
    """The signature is good: whoever holds the secret can read as that user, as the docs say."""
    seen = claims_of(access_token(hs256.test_client(), ADMIN, audience="notes"))
    token = jwt.encode(
        {**seen, "aud": [ORIGIN], "scope": "admin"}, SHARED, "HS256", headers={"typ": "at+jwt"}
    )
    answer = get(hs256.test_client(), "/for-admins", token)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "insufficient_scope")


def test_a_public_key_is_no_shared_secret(make_app: MakeApp) -> None:
    """The oldest attack: HS256 keyed with what the JWK Set shows."""
    app = make_app()
    add_user(app, ADMIN, "admin")
    jwk, _ = jwks(app)
    _, claims, _ = access_token(app.test_client(), ADMIN).split(".")
    header = {"alg": "HS256", "typ": "at+jwt", "kid": jwk["kid"]}
    signed = f"{encoded(json.dumps(header).encode())}.{claims}"
    for key in (json.dumps(jwk), jwk["x"], jwk["kid"]):
        signature = hmac.digest(key.encode(), signed.encode(), "sha256")
        answer = get(app.test_client(), "/api/me", f"{signed}.{encoded(signature)}")
        assert answer.status_code == 401


def encoded(part: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(part).decode().rstrip("=")
