"""The rules of sessions against a model of them, through whatever Hypothesis thinks of.

Two users sign in, refresh, come too late, get copied, sign out, change passwords, are
disabled and enabled, while months pass in no time. After every step the rules in `app`
and the model must agree: on the answer, on every session's life, on every event.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import event, select

from app import accounts, login, sessions, users
from app.audit import AuditEvent
from app.client import Client
from app.db import db, disconnect
from app.errors import AppError
from app.login import Renewal, SignIn
from app.sessions import Ending
from app.tokens import Wish
from tests.conftest import MakeApp, add_user, find_user
from tests.sessions import model
from tests.sessions.model import Model, Place, Refused, Session, Token, User
from tests.support import NO_LOGIN_LIMITS, PASSWORD, SOMEWHERE, claims_of

T = TypeVar("T")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOST = 4
OTHER_PASSWORD = "quite another long sentence"
PLACES: list[Place] = [
    ("192.0.2.1", "curl/8.5.0"),
    ("198.51.100.7", "curl/8.5.0"),
    ("192.0.2.1", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
]
KEYS = ["k" * 22, "l" * 22]
SHORT_TIMES = [
    timedelta(0),
    timedelta(seconds=1),
    timedelta(seconds=8),
    timedelta(seconds=20),
    timedelta(seconds=20, microseconds=1),
    timedelta(seconds=59, microseconds=999_999),
    timedelta(minutes=1),
    timedelta(minutes=13),
    timedelta(hours=5),
    timedelta(hours=24) - timedelta(microseconds=1),
    timedelta(hours=24),
]

LONG_TIMES = [
    timedelta(days=30) - timedelta(microseconds=1),
    timedelta(days=3) - timedelta(microseconds=1),
    timedelta(days=30),
    timedelta(days=3),
]

numbers = st.integers(0, 63)
places = st.sampled_from(PLACES)
keys = st.sampled_from([None, *KEYS])
times = st.sampled_from(SHORT_TIMES)
moments = st.sampled_from(SHORT_TIMES[:4])
passwords = st.sampled_from([PASSWORD, OTHER_PASSWORD])


class Log(logging.Handler):
    """Keeps what the audit log says."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


def events_in(lines: list[str]) -> Counter[model.Event]:
    """What the lines say, as the model says it."""
    said = [json.loads(line) for line in lines]
    return Counter(
        (one["event"], one.get("user"), one.get("session"), one.get("reason")) for one in said
    )


def outcome(action: Callable[[], T]) -> T | str:
    """What an action gives, or the name of its refusal."""
    try:
        return action()
    except (AppError, Refused) as refusal:
        return str(refusal) if isinstance(refusal, Refused) else type(refusal).__name__


class Sessions(RuleBasedStateMachine):
    """The rules and the model, side by side."""

    app: Flask
    log: Log
    machines = count()

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.model = Model(MOST)
        self.rows = 0
        self.texts: set[str] = set()
        for name in ("alice", "bob"):
            email = add_user(self.app, f"{name}-{next(self.machines)}@example.com")
            with self.app.app_context():
                self.model.users.append(User(find_user(self.app, email).public_id, PASSWORD))
        with self.app.app_context():
            self.rows = self.count_rows()
        self.log.lines.clear()

    # What time it is, and whose turn

    @rule(step=times)
    def time_passes(self, step: timedelta) -> None:
        """From no time at all to a day."""
        self.now += step

    def client(self, place: Place) -> Client:
        """Somebody at a place."""
        return Client(*place)

    def real_user(self, user: User) -> users.User:
        """The user in the database."""
        found = users.by_public_id(user.name)
        assert found is not None
        return found

    def real_session(self, session: Session) -> sessions.LoginSession:
        """The session in the database."""
        found = sessions.find(session.name)
        assert found is not None
        return found

    def some_session(self, number: int, *, with_tokens: bool | None = None) -> Session | None:
        """One of the live ones, if there are any, or now and then of all that there ever were."""
        fitting = [
            one
            for one in self.model.sessions
            if with_tokens is None or bool(one.tokens) == with_tokens
        ]
        if number < 56:
            fitting = [one for one in fitting if one.is_live(self.now)] or fitting
        return fitting[-1 - number % len(fitting)] if fitting else None

    # Signing in

    @rule(number=numbers, place=places)
    def sign_in_with_tokens(self, number: int, place: Place) -> None:
        """A program."""
        self.sign_in(login.with_tokens, number, self.password(number), place)

    @rule(number=numbers, place=places)
    def sign_in_with_cookie(self, number: int, place: Place) -> None:
        """A browser."""
        self.sign_in(login.with_cookie, number, self.password(number), place)

    def password(self, number: int) -> str:
        """The right one but for a few."""
        return self.model.users[number % 2].password if number < 60 else "a wrong one, typed"

    def sign_in(self, way: Any, number: int, password: str, place: Place) -> None:
        """Either; the model is told the secrets."""
        user = self.model.users[number % 2]
        expected = outcome(lambda: self.model.check_password(user, password))
        with self.app.app_context():
            email = self.real_user(user).email
            found = outcome(lambda: way(email, password, self.client(place), now=self.now))
            if not isinstance(found, SignIn):
                assert found == expected
                return
            assert expected is None
            name = found.session.public_id
        session = Session(name, user, self.now, self.now, place, cookie=found.secret)
        if found.refresh_token is not None:
            session.tokens = [Token(self.fresh(found.refresh_token))]
        self.model.sign_in(session, self.now)

    def fresh(self, text: str) -> str:
        """A token that was never given before."""
        assert text not in self.texts
        self.texts.add(text)
        return text

    # Going on

    @rule(number=numbers, key=keys, place=places, pause=moments)
    def refresh_with_the_newest(
        self, number: int, key: str | None, place: Place, pause: timedelta
    ) -> None:
        """As everybody does who keeps the rules."""
        session = self.some_session(number, with_tokens=True)
        if session is not None:
            self.now += pause
            self.refresh(session, session.tokens[-1], key, place)

    @rule(
        number=numbers, uses=st.sampled_from([2, 4, 16, 17]), pause=moments, key=keys, place=places
    )
    def refresh_many_times_and_with_the_first(
        self, number: int, uses: int, pause: timedelta, key: str | None, place: Place
    ) -> None:
        """Somebody in a hurry, and the token that they had at the beginning."""
        session = self.some_session(number, with_tokens=True)
        if session is None:
            return
        first = session.tokens[-1]
        for _ in range(uses):
            self.refresh(session, session.tokens[-1], None, session.place)
            self.now += pause / uses
        self.refresh(session, first, key, place)

    @rule(number=numbers, older=st.integers(1, 3), key=keys, place=places)
    def refresh_with_an_older(self, number: int, older: int, key: str | None, place: Place) -> None:
        """By accident, after a lost reply, or with a copy."""
        session = self.some_session(number, with_tokens=True)
        if session is not None:
            token = session.tokens[max(0, len(session.tokens) - 1 - older)]
            self.refresh(session, token, key, place)

    @rule(number=numbers, step=times, returns=st.integers(1, 4), meanwhile=st.integers(0, 3))
    def come_back_with_the_key(
        self, number: int, step: timedelta, returns: int, meanwhile: int
    ) -> None:
        """The reply was lost; or it was not, and the client used what was in it."""
        session = self.some_session(number, with_tokens=True)
        if session is None:
            return
        token = session.tokens[-1]
        self.refresh(session, token, KEYS[0], session.place)
        if meanwhile == 1:
            self.show(session, session.unseen or "")
        elif meanwhile == 2:
            self.refresh(session, session.tokens[-1], KEYS[1], session.place)
        for _ in range(returns):
            self.now += step
            self.refresh(session, token, KEYS[0], session.place)

    def refresh(self, session: Session, token: Token, key: str | None, place: Place) -> None:
        """Both must answer alike."""
        expected = outcome(lambda: self.model.refresh(session, token, key, place, self.now))
        with self.app.app_context():
            found = outcome(
                lambda: login.refresh(token.text, self.client(place), retry_key=key, now=self.now)
            )
        if not isinstance(found, Renewal):
            assert found == expected, "refused otherwise than expected"
            return
        assert found.refresh_token is not None
        assert found.access_token is not None
        claims = claims_of(found.access_token.text)
        assert (claims["sid"], claims["sub"]) == (session.name, session.user.name)
        if expected is None:
            self.model.succeed(
                session,
                token,
                key,
                place,
                self.now,
                self.fresh(found.refresh_token),
                claims["jti"],
            )
        else:
            assert found.refresh_token == expected, "another successor"

    @rule(number=numbers, older=st.integers(0, 2), key=keys)
    def ask_for_too_much(self, number: int, older: int, key: str | None) -> None:
        """Where a token would have been given, nothing has happened; its theft counts."""
        session = self.some_session(number, with_tokens=True)
        if session is None:
            return
        token = session.tokens[max(0, len(session.tokens) - 1 - older)]
        events, had = list(self.model.events), replace(token)
        used = session.last_used
        expected = outcome(lambda: self.model.refresh(session, token, key, session.place, self.now))
        if expected not in ("NotSignedIn", "TooManyAttempts"):
            self.model.events, session.last_used = events, used
            token.retries, token.returned_at = had.retries, had.returned_at
            expected = "InvalidTarget"
        wish = Wish(audience=["unknown"])
        client = self.client(session.place)
        with self.app.app_context():
            found = outcome(
                lambda: login.refresh(token.text, client, wish, retry_key=key, now=self.now)
            )
        assert found == expected

    @rule(place=places, key=keys)
    def refresh_with_what_is_no_token(self, place: Place, key: str | None) -> None:
        """Nothing comes of it."""
        with self.app.app_context():
            found = outcome(
                lambda: login.refresh("x" * 43, self.client(place), retry_key=key, now=self.now)
            )
        assert found == "NotSignedIn"

    @rule(number=numbers, newest=st.booleans())
    def show_an_access_token(self, number: int, newest: bool) -> None:
        """The answer of the newest first use, or another."""
        session = self.some_session(number)
        if session is not None:
            self.show(session, session.unseen if newest and session.unseen else "t_another")

    def show(self, session: Session, access_token: str) -> None:
        """At the API of the login service."""
        expected = self.model.show(session, access_token, self.now)
        with self.app.app_context():
            found = sessions.by_public_id(session.name, session.user.name, self.now)
            assert (found is not None) == expected
            if found is not None:
                sessions.note_shown(found, access_token)

    @rule(number=numbers, place=places)
    def use_a_cookie(self, number: int, place: Place) -> None:
        """Somebody's."""
        session = self.some_session(number, with_tokens=False)
        if session is not None:
            self.open_a_page(session, place)

    def open_a_page(self, session: Session, place: Place) -> None:
        """With the session's cookie."""
        expected = self.model.use_cookie(session, place, self.now)
        with self.app.app_context():
            found = sessions.by_secret(session.cookie or "", self.client(place), self.now)
            assert (found is not None) == expected
            assert found is None or found.public_id == session.name

    # Ending; one rule for all, so that most examples go on for long

    @rule(number=numbers, how=st.integers(0, 8), place=places, older=st.integers(0, 2))
    def something_ends(self, number: int, how: int, place: Place, older: int) -> None:
        """In one of the many ways."""
        ways: list[Callable[[], None]] = [
            lambda: self.log_out(number, older, place),
            lambda: self.end_one(number),
            lambda: self.end_others(number),
            lambda: self.end_all(number),
            lambda: self.change_the_password(number),
            lambda: self.set_the_password(number),
            lambda: self.disable_for_a_while(number, place),
            lambda: self.end_everything(),
            lambda: self.much_time_passes(number),
        ]
        ways[how]()

    def log_out(self, number: int, older: int, place: Place) -> None:
        """By any token of the family."""
        session = self.some_session(number, with_tokens=True)
        if session is None:
            return
        token = session.tokens[max(0, len(session.tokens) - 1 - older)]
        self.model.end([session], "signed_out", self.now)
        with self.app.app_context():
            login.log_out(token.text, self.client(place), self.now)

    def end_one(self, number: int) -> None:
        """Whichever, and again."""
        session = self.some_session(number)
        if session is None:
            return
        expected = self.model.end([session], "ended_by_user", self.now)
        with self.app.app_context():
            real = self.real_session(session)
            assert sessions.end(real, Ending.ENDED_BY_USER, SOMEWHERE, self.now) == expected

    def end_others(self, number: int) -> None:
        """All of the user but this one."""
        session = self.some_session(number)
        if session is None:
            return
        expected = self.model.end(self.others(session), "ended_by_user", self.now)
        with self.app.app_context():
            real = self.real_session(session)
            assert sessions.end_others(real, Ending.ENDED_BY_USER, SOMEWHERE, self.now) == expected

    def end_all(self, number: int) -> None:
        """All of the user."""
        user = self.model.users[number % 2]
        expected = self.model.end(self.of(user), "ended_by_user", self.now)
        with self.app.app_context():
            real = self.real_user(user)
            assert sessions.end_all(real, Ending.ENDED_BY_USER, SOMEWHERE, self.now) == expected

    def of(self, user: User) -> list[Session]:
        """All that a user ever had."""
        return [one for one in self.model.sessions if one.user is user]

    def others(self, session: Session) -> list[Session]:
        """All that its user ever had besides."""
        return [one for one in self.of(session.user) if one is not session]

    def change_the_password(self, number: int) -> None:
        """By whoever is signed in; the others end."""
        session = self.some_session(number)
        if session is None or not session.is_live(self.now):
            return
        user, current = session.user, self.password(number)
        expected = outcome(lambda: self.model.check_password(user, current, "current_password"))
        new = OTHER_PASSWORD if user.password == PASSWORD else PASSWORD
        if expected is None:
            user.password = new
            self.model.note("password.changed", user, None, None)
            self.model.end(self.others(session), "password_changed", self.now)
        with self.app.app_context():
            real = self.real_session(session)
            found = outcome(
                lambda: accounts.change_password(real, current, new, SOMEWHERE, self.now)
            )
            assert found == expected

    def set_the_password(self, number: int) -> None:
        """By the operator; all end."""
        user = self.model.users[number % 2]
        user.password = OTHER_PASSWORD
        self.model.note("password.changed", user, None, None)
        self.model.end(self.of(user), "password_changed", self.now)
        with self.app.app_context():
            accounts.set_password(self.real_user(user), OTHER_PASSWORD, SOMEWHERE, self.now)

    def disable_for_a_while(self, number: int, place: Place) -> None:
        """Meanwhile nobody signs in; what had ended does not come back."""
        user = self.model.users[number % 2]
        user.is_enabled = False
        self.model.note("user.disabled", user, None, None)
        self.model.end(self.of(user), "user_disabled", self.now)
        with self.app.app_context():
            accounts.disable(self.real_user(user), SOMEWHERE, self.now)
        self.sign_in(login.with_tokens, number, user.password, place)
        self.every_session_lives_or_not_as_expected()
        user.is_enabled = True
        self.model.note("user.enabled", user, None, None)
        with self.app.app_context():
            users.enable(self.real_user(user), SOMEWHERE)

    def end_everything(self) -> None:
        """After an old backup was brought back; it is one event, and nobody's."""
        self.model.end_everything()
        with self.app.app_context():
            accounts.end_everything(SOMEWHERE, self.now)

    def much_time_passes(self, number: int) -> None:
        """Weeks; or months, in which everybody comes now and then. Then all is ended."""
        for _ in range(number % 4):
            self.now += timedelta(days=29)
            for session in [one for one in self.model.sessions if one.is_live(self.now)]:
                if session.tokens:
                    self.refresh(session, session.tokens[-1], None, session.place)
                else:
                    self.open_a_page(session, session.place)
        self.now += LONG_TIMES[number % len(LONG_TIMES)]
        self.end_all(number)
        self.end_all(number + 1)

    # What must be so after every step

    @invariant()
    def every_session_lives_or_not_as_expected(self) -> None:
        """Asked one by one."""
        with self.app.app_context():
            for session in self.model.sessions:
                found = sessions.by_public_id(session.name, session.user.name, self.now)
                assert (found is not None) == session.is_live(self.now), session

    @invariant()
    def the_list_shows_the_live_ones(self) -> None:
        """Last used first."""
        with self.app.app_context():
            for user in self.model.users:
                shown = [one.public_id for one in sessions.live(self.real_user(user), self.now)]
                assert shown == [one.name for one in self.model.live(user, self.now)]
                assert len(shown) <= MOST

    @invariant()
    def the_events_are_those_expected(self) -> None:
        """One line each, and a row, but for ordinary refreshes."""
        lines = events_in(self.log.lines)
        assert lines == Counter(self.model.events)
        with self.app.app_context():
            rows = self.count_rows()
        ordinary = sum(count for one, count in lines.items() if one[0] == "refresh.succeeded")
        assert rows - self.rows == lines.total() - ordinary
        self.rows = rows
        self.log.lines.clear()
        self.model.events.clear()

    def count_rows(self) -> int:
        """The number of events in the database."""
        return db.session.scalar(select(AuditEvent.id).order_by(AuditEvent.id.desc())) or 0


@pytest.fixture
def fast_app(make_app: MakeApp) -> Flask:
    """An app on a real SQLite file that does not wait for the disk."""
    none = {**dict.fromkeys(NO_LOGIN_LIMITS, "off"), "FOXTROT_LIMIT_REFRESH": "off"}
    app = make_app(FOXTROT_SESSIONS_PER_USER=str(MOST), **none)
    with app.app_context():
        event.listen(db.engine, "connect", _do_not_wait)
        disconnect()
    return app


def _do_not_wait(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@contextmanager
def listening() -> Iterator[Log]:
    """The lines of the audit log meanwhile."""
    log, logger = Log(), logging.getLogger("foxtrot.audit")
    logger.addHandler(log)
    try:
        yield log
    finally:
        logger.removeHandler(log)


def test_the_rules_and_the_model_never_disagree(fast_app: Flask) -> None:
    """Whatever happens in whatever order; the same examples each time."""
    examples = settings(
        max_examples=40,
        stateful_step_count=40,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    with listening() as log:
        machine = type("Machine", (Sessions,), {"app": fast_app, "log": log})
        run_state_machine_as_test(machine, settings=examples)
