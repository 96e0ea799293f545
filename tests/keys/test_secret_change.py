"""Changing the service's own secret; what is at rest, when it is stolen, damaged or mixed up."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask

from app import keys
from app.audit import Event
from app.db import db, transaction
from app.errors import StartRefused, Unavailable
from app.keys import KeyRing, SigningKey
from app.keys.table import PURPOSE
from app.secret_key import SecretKey
from tests.conftest import MakeApp, on_both_databases
from tests.keys.conftest import ring_of
from tests.sessions.conftest import all_events
from tests.support import access_token, get

OLD = "Zq3vT8mW1xYb6KdR0hLs9PfGc2NjU5Ae"
NEW = "pX7oHn4QyV0sJc8LzR2gKf5BtW9mDe1U"
NEWER = "Lw5kQe8RtY2uIo0PaSdF6gHjK3lZxC9v"
SECRETS = "FOXTROT_SECRET_KEY"
FALLBACKS = "FOXTROT_SECRET_KEY_FALLBACKS"


# Changing the secret


def test_without_the_old_secret_a_new_one_is_refused_and_the_way_is_said(fresh: MakeApp) -> None:
    """Nothing is made anew over what somebody may still open."""
    fresh(FOXTROT_SECRET_KEY=OLD)
    with pytest.raises(StartRefused, match=FALLBACKS) as caught:
        fresh(FOXTROT_SECRET_KEY=NEW)
    assert OLD not in str(caught.value)
    assert NEW not in str(caught.value)


def test_the_secret_is_changed_and_nobody_notices(fresh: MakeApp, alice: str) -> None:
    """Keys, tokens and sessions are as before."""
    before = fresh(FOXTROT_SECRET_KEY=OLD)
    shown = ring_jwks(before)
    after = fresh(FOXTROT_SECRET_KEY=NEW, FOXTROT_SECRET_KEY_FALLBACKS=OLD)
    assert ring_jwks(after) == shown
    with after.app_context():
        assert ring_of(after).signing_key().kid == shown[0]["kid"]


def test_the_secret_of_the_file_can_move_into_the_setting(
    make_app: MakeApp, data_dir: Path
) -> None:
    """What the first start made is a secret like any other."""
    old = (data_dir / "secret").read_text()
    make_app(FOXTROT_SECRET_KEY=NEW, FOXTROT_SECRET_KEY_FALLBACKS=old)


def test_the_file_can_be_made_anew_by_hand(make_app: MakeApp, data_dir: Path) -> None:
    """As docs/keys.md says: the content of the old one becomes the fallback."""
    file = data_dir / "secret"
    old = file.read_text()
    file.write_text(f"{NEW}{NEWER}\n")
    with pytest.raises(StartRefused):
        make_app()
    rewrap(make_app(FOXTROT_SECRET_KEY_FALLBACKS=old))
    make_app()


def ring_jwks(app: Flask) -> list[dict[str, str]]:
    answer = get(app.test_client(), "/.well-known/jwks.json")
    shown: list[dict[str, str]] = answer.get_json()["keys"]
    return shown


def rewrap(app: Flask) -> str:
    result = app.test_cli_runner().invoke(args=("keys", "rewrap"))
    assert result.exit_code == 0, result.output
    return result.output


@on_both_databases
def test_rewrapped_keys_need_no_fallback(make_app: MakeApp, database: dict[str, str]) -> None:
    """The old secret can be forgotten then; the keys are the same."""
    old = database.get(SECRETS) or Path(database["FOXTROT_DATA_DIR"], "secret").read_text()
    shown = ring_jwks(make_app())
    app = make_app(FOXTROT_SECRET_KEY=NEW, FOXTROT_SECRET_KEY_FALLBACKS=old)
    assert rewrap(app) == "Keys encrypted anew: 2\n"
    assert rewrap(app) == "Keys encrypted anew: 0\n"
    assert ring_jwks(make_app(FOXTROT_SECRET_KEY=NEW)) == shown
    with pytest.raises(StartRefused):
        make_app(FOXTROT_SECRET_KEY=old)


def test_rewrapping_is_written_down_once(make_app: MakeApp, data_dir: Path) -> None:
    """A second time there was nothing to do."""
    old = (data_dir / "secret").read_text()
    app = make_app(FOXTROT_SECRET_KEY=NEW, FOXTROT_SECRET_KEY_FALLBACKS=old)
    rewrap(app)
    rewrap(app)
    assert [event.name for event in all_events(app)] == [Event.KEYS_REWRAPPED]


def test_a_secret_may_be_changed_twice(fresh: MakeApp) -> None:
    """Before everything of the first was encrypted anew."""
    fresh(FOXTROT_SECRET_KEY=OLD)
    app = fresh(FOXTROT_SECRET_KEY=NEWER, FOXTROT_SECRET_KEY_FALLBACKS=f"{NEW},{OLD}")
    rewrap(app)
    fresh(FOXTROT_SECRET_KEY=NEWER)


def test_a_worker_that_lacks_the_new_secret_answers_503_and_signs_nothing(
    fresh: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody encrypted anew before every worker had the new secret; the log names the key."""
    app = fresh(FOXTROT_SECRET_KEY=OLD)
    rewrap(fresh(FOXTROT_SECRET_KEY=NEW, FOXTROT_SECRET_KEY_FALLBACKS=OLD))
    with app.app_context(), pytest.raises(Unavailable):
        KeyRing(ring_of(app).policy, ring_of(app).secret_key).signing_key()
    assert "FOXTROT_SECRET_KEY_FALLBACKS" in caplog.text
    assert OLD not in caplog.text


# The keys of each purpose


def test_every_secret_gives_a_key_for_a_purpose() -> None:
    """The current one's first; with it new things are made."""
    both, old, new = SecretKey(NEW, "x", [OLD]), SecretKey(OLD, "x"), SecretKey(NEW, "x")
    assert both.derive_all("p") == (new.derive("p"), old.derive("p"))
    assert both.derive("p") == new.derive("p")
    assert new.derive_all("p") == (new.derive("p"),)


def test_a_secret_that_is_its_own_fallback_counts_once() -> None:
    """Somebody added the new one too early."""
    assert len(SecretKey(NEW, "x", [NEW, OLD]).derive_all("p")) == 2


def test_one_string_is_no_list_of_secrets() -> None:
    """It would become secrets of one letter, and each of them would open something."""
    with pytest.raises(TypeError, match="list"):
        SecretKey(NEW, "x", OLD)


def test_no_fallback_is_in_a_representation() -> None:
    """As the secret itself is not."""
    assert OLD not in repr(SecretKey(NEW, "x", [OLD]))


# At rest (KEY-8, KEY-9)


def test_no_private_key_is_in_a_log_an_answer_or_a_representation(
    make_app: MakeApp, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not while it signs, is listed, rotated, removed or encrypted anew."""
    app = make_app()
    caplog.set_level(logging.DEBUG)
    with app.app_context():
        signer = ring_of(app).signing_key()
    number = signer.private_key.private_numbers().private_value
    runner, said = app.test_cli_runner(), repr(signer) + repr(ring_of(app))
    access_token(app.test_client(), alice)
    for command in (["list"], ["list", "--json"], ["rotate"], ["remove", "--now", signer.kid]):
        said += runner.invoke(args=["keys", *command]).output
    said += caplog.text
    for text in (str(number), f"{number:x}", f"{number:X}", "PRIVATE KEY"):
        assert text not in said


def store(app: Flask, plain: bytes, secret: str) -> None:
    """Put other content into the first key's row, properly encrypted under its name."""
    with app.app_context(), transaction():
        row = db.session.get(SigningKey, 1)
        assert row is not None
        nonce, key = os.urandom(12), SecretKey(secret, "x").derive(PURPOSE)
        row.private_key = nonce + AESGCM(key).encrypt(nonce, plain, row.kid.encode())


def der(private: object) -> bytes:
    return private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined,no-any-return]  # a private key


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"garbage",
        der(Ed25519PrivateKey.generate()),
        der(generate_private_key(SECP384R1())),
        der(generate_private_key(SECP256R1())),
    ],
    ids=["empty", "garbage", "another type", "another curve", "another key"],
)
def test_a_key_that_is_not_what_its_row_says_is_refused_by_name(
    plain: bytes, fresh: MakeApp
) -> None:
    """The start says which; nothing is made over it."""
    app = fresh(FOXTROT_SECRET_KEY=OLD)
    kid = ring_jwks(app)[0]["kid"]
    store(app, plain, OLD)
    with pytest.raises(StartRefused, match="is not what its row says") as caught:
        fresh(FOXTROT_SECRET_KEY=OLD)
    assert kid in str(caught.value)
    with app.app_context():
        assert len(keys.every_key()) == 2


def test_a_shared_secret_is_not_in_the_database(fresh: MakeApp, tmp_path: Path) -> None:
    """Its row holds times alone."""
    fresh(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=NEW)
    files = [path for path in (tmp_path / "fresh").iterdir() if path.name != "secret"]
    assert not any(NEW.encode() in path.read_bytes() for path in files)


def test_a_fallback_must_not_be_what_services_share(fresh: MakeApp) -> None:
    """They could read what was encrypted with it."""
    with pytest.raises(Exception, match="must not be among"):
        fresh(FOXTROT_SHARED_SECRET=NEW, FOXTROT_SECRET_KEY_FALLBACKS=json.dumps([NEW]))
