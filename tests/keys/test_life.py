"""The life of a signing key: published before it signs, there until its tokens are over."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask

from app import keys
from app.db import db
from app.errors import KeyRefused
from app.keys.life import AFTER_EXPIRY, KNOWN_AFTER, MAX_PUBLISHED, SWITCH
from foxtrot.issuer import COOLDOWN_SECONDS, REFRESH_SECONDS
from tests.conftest import MakeApp, on_both_databases
from tests.keys.conftest import (
    A_DAY,
    A_SECOND,
    LIFETIME,
    READY,
    RETENTION,
    lives,
    remove_now,
    ring_of,
    rotate,
    states,
    tend,
    token,
    worker,
)
from tests.support import claims_of, get, header_of

# Published before it signs (KEY-3)


def test_the_first_key_signs_at_once_and_a_stand_by_is_published(app: Flask, now: datetime) -> None:
    """Nobody has any other key that could be used instead."""
    assert states(now) == ["active", "published"]
    assert len(ring_of(app).public_set()) == 2


def test_a_key_is_published_for_longer_than_all_caches_together() -> None:
    """The copy of a set, a verifier's cool-down, and a worker's half minute."""
    cached = timedelta(seconds=300 + COOLDOWN_SECONDS + 30)
    assert cached < KNOWN_AFTER < cached + timedelta(minutes=1)
    assert timedelta(seconds=REFRESH_SECONDS) == keys.MAX_AGE


def test_the_max_age_that_the_rules_count_on_is_that_of_the_answer(app: Flask) -> None:
    """Of the set, and of the metadata that lead to it."""
    for path in ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server"):
        said = get(app.test_client(), path).headers["Cache-Control"]
        assert said == f"public, max-age={keys.MAX_AGE.seconds}"


def test_a_young_stand_by_is_not_let_sign_and_the_time_is_said(app: Flask, now: datetime) -> None:
    """To the second."""
    safe = lives()[1].may_sign_from
    with pytest.raises(KeyRefused, match=f"safe from {safe:%Y-%m-%d %H:%M:%S} UTC") as caught:
        rotate(app, safe - A_SECOND)
    assert caught.value.safe_from == safe
    assert rotate(app, safe) == safe + SWITCH


def test_a_rotation_is_known_to_every_worker_before_it_happens(app: Flask, now: datetime) -> None:
    """One that has read just before reads again before the time."""
    other = worker(app)
    when = rotate(app, now + READY)
    first, second = lives()[:2]
    assert when - (now + READY) > keys.REREAD
    assert other.signing_key(when - A_SECOND).kid == first.kid
    assert other.signing_key(when).kid == second.kid


def test_after_a_rotation_there_is_another_stand_by(app: Flask, now: datetime) -> None:
    """It is published from that moment on."""
    rotate(app, now + READY)
    assert lives()[2].created_at == now + READY
    assert len(worker(app).public_set(now + READY)) == 3


# There until its tokens are over (KEY-4)


def test_a_key_stays_until_its_last_token_has_expired(app: Flask, now: datetime) -> None:
    """And a minute longer, because clocks differ; then its private half is destroyed."""
    when = rotate(app, now + READY)
    tend(app, when + RETENTION - A_SECOND)
    assert states(when + RETENTION - A_SECOND)[0] == "retiring"
    assert len(worker(app).public_set(when + RETENTION - A_SECOND)) == 3
    tend(app, when + RETENTION)
    assert states(when + RETENTION)[0] == "retired"
    assert len(worker(app).public_set(when + RETENTION)) == 2


def test_a_retired_key_has_no_private_half(app: Flask, now: datetime) -> None:
    """Nobody who steals the database and the secret can sign with it."""
    tend(app, rotate(app, now + READY) + RETENTION)
    row = db.session.get(keys.SigningKey, 1)
    assert row is not None
    assert row.private_key == b""


def test_the_last_token_of_a_key_is_good_until_it_expires(app: Flask, alice: str) -> None:
    """Signed in the last second before the other key takes over."""
    with app.app_context():
        when = rotate(app, lives()[1].may_sign_from)
        last = token(None, when - A_SECOND)
        kid, expires = header_of(last)["kid"], claims_of(last)["exp"]
        end = datetime.fromtimestamp(expires, when.tzinfo) + AFTER_EXPIRY
        tend(app, end)
        assert kid == lives()[0].kid
        assert kid in {jwk["kid"] for jwk in worker(app).public_set(end)}


def test_a_lower_lifetime_drops_no_key_early(make_app: MakeApp) -> None:
    """Tokens of before the restart are as old as they were allowed to become."""
    long = make_app(FOXTROT_ACCESS_TOKEN_LIFETIME="24h")
    with long.app_context():
        when = rotate(long, lives()[1].may_sign_from)
    short = make_app(FOXTROT_ACCESS_TOKEN_LIFETIME="1m")
    with short.app_context():
        tend(short, when + A_DAY)
        assert states(when + A_DAY)[0] == "retiring"
        tend(short, when + A_DAY + RETENTION - LIFETIME)
        assert states(when + A_DAY)[0] == "retired"


def test_a_higher_lifetime_is_noted_before_anything_is_signed(make_app: MakeApp) -> None:
    """Also for a key whose end is near."""
    short = make_app()
    with short.app_context():
        when = rotate(short, lives()[1].may_sign_from)
    long = make_app(FOXTROT_ACCESS_TOKEN_LIFETIME="24h")
    with long.app_context():
        tend(long, when + A_DAY)
        assert states(when + A_DAY)[0] == "retiring"


def test_a_key_that_another_worker_made_is_noted_to_sign_for_long(make_app: MakeApp) -> None:
    """Whatever its own setting is."""
    make_app(FOXTROT_ACCESS_TOKEN_LIFETIME="24h")
    short = make_app()
    with short.app_context():
        rotate(short, lives()[1].may_sign_from)
        assert {life.lifetime for life in lives()} == {A_DAY}


def test_so_many_keys_that_verifiers_would_refuse_the_set_are_not_made(
    make_app: MakeApp,
) -> None:
    """With the longest lifetime and an operator who rotates all day."""
    app = make_app(FOXTROT_ACCESS_TOKEN_LIFETIME="24h")
    with app.app_context():
        now = lives()[0].created_at
        while len(lives()) < MAX_PUBLISHED:
            now += READY
            rotate(app, now)
        with pytest.raises(KeyRefused, match="too large") as caught:
            rotate(app, now + READY)
        safe = caught.value.safe_from
        assert safe is not None
        assert safe == lives()[0].may_retire_from
        tend(app, safe)
        rotate(app, safe)


# By age


def test_a_key_is_replaced_after_ninety_days(app: Flask, now: datetime) -> None:
    """By whichever worker notices; the stand-by is known to everybody long since."""
    tend(app, now + 89 * A_DAY)
    assert len(lives()) == 2
    tend(app, now + 90 * A_DAY)
    first, second, third = lives()
    assert first.signs_until == second.signs_from == now + 90 * A_DAY + SWITCH
    assert third.signs_from is None


def test_a_key_may_sign_for_ever_if_the_operator_wants_it(make_app: MakeApp) -> None:
    """`FOXTROT_KEY_ROTATION_DAYS=0`."""
    app = make_app(FOXTROT_KEY_ROTATION_DAYS="0")
    with app.app_context():
        tend(app, lives()[0].created_at + 4000 * A_DAY)
        assert len(lives()) == 2


def test_a_command_beside_the_service_rotates_nothing_by_age(app: Flask, now: datetime) -> None:
    """Its environment may say another age than that of the service."""
    remove_now(app, lives()[1].kid, now + 91 * A_DAY)
    assert lives()[0].signs_until is None


@on_both_databases
def test_a_request_has_the_rotation_done_and_does_not_wait_for_it(
    app: Flask, now: datetime
) -> None:
    """A thread of the worker does it; the key that signed signs on meanwhile."""
    ring, later = ring_of(app), now + 91 * A_DAY
    assert ring.signing_key(later).kid == lives()[0].kid
    assert ring._upkeep is not None
    ring._upkeep.join(20)
    assert ring.signing_key(later + keys.REREAD).kid == lives()[0].kid
    assert ring.signing_key(later + SWITCH).kid == lives()[1].kid
    assert states(later + SWITCH) == ["retiring", "active", "published"]
