"""What `flask doctor` finds: what is wrong or could be better, in plain words, and what to do.

A check looks at one thing, changes nothing, and never fails: what it cannot find out is a
finding, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from flask import current_app
from sqlalchemy import func, select, text

from app import keys, ratelimit, schema, secret_key, users
from app.audit import AuditEvent
from app.db import FAILURES, db, file
from app.db.patience import at_most
from app.errors import StartRefused
from app.keys import State
from app.secret_key import SecretKey
from app.sessions import LoginSession
from app.status_lists import GONE_AFTER

CLOCK_SLACK: Final = timedelta(seconds=5)
CLOCK_WRONG: Final = timedelta(seconds=30)
"""What verifiers forgive (`foxtrot.verifier.DEFAULT_LEEWAY`)."""

OLD: Final = timedelta(days=180)
CLEANED_WITHIN: Final = timedelta(days=14)
"""How long rows that are over may stay: twice the longest pause between two cleanings."""

PATIENCE: Final = 3
"""For how many seconds a check waits for PostgreSQL."""

LOW_DISK: Final = 100 * 1024 * 1024


class Level(StrEnum):
    """How bad a finding is."""

    FINE = "fine"
    ADVICE = "advice"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What a check found; `todo` is empty where nothing is to be done."""

    check: str
    level: Level
    said: str
    todo: str = ""

    def as_dict(self) -> dict[str, str]:
        """For programs."""
        return {name: str(value) for name, value in asdict(self).items()}


Check = Callable[[datetime], Iterator[Finding]]


def examine(now: datetime) -> list[Finding]:
    """Look at everything."""
    found: list[Finding] = []
    patience = PATIENCE
    for name, check in _CHECKS.items():
        began = time.monotonic()
        try:
            with at_most(patience):
                found += check(now)
        except FAILURES as error:
            found.append(_without_database(name, error))
            if time.monotonic() - began >= PATIENCE:
                patience = 0  # it is silent; once is enough
        except (StartRefused, OSError) as error:
            found.append(Finding(name, Level.WRONG, str(error)))
    return found


def _without_database(check: str, error: Exception) -> Finding:
    """The reason and what to do stand at the database itself, once."""
    if check != "database":
        said = "This cannot be found out while the database does not answer."
        return Finding(check, Level.WRONG, said, "See to the database first.")
    reason = " ".join(str(getattr(error, "orig", error)).split())
    path = file()
    if path is None:
        todo = "Is PostgreSQL running, and FOXTROT_DATABASE_URL right?"
        return Finding(check, Level.WRONG, f"PostgreSQL does not answer: {reason}", todo)
    todo = "If it is damaged, stop the service and put back the backup: docs/operate.md"
    return Finding(check, Level.WRONG, f"SQLite at {path} cannot be read: {reason}", todo)


def _database(_now: datetime) -> Iterator[Finding]:
    path = file()
    if path is not None:
        yield from _sqlite(path)
        return
    with db.engine.connect() as connection:
        version = connection.scalar(text("SHOW server_version"))
        said = f"PostgreSQL {version} at {db.engine.url.host} answers."
        yield Finding("database", Level.FINE, said)
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            if connection.scalar(select(func.current_setting(name))) == "off":
                yield Finding(
                    "database",
                    Level.WRONG,
                    f"PostgreSQL runs with {name}=off: a power cut loses what was acknowledged.",
                    f"Set {name}=on.",
                )


def _sqlite(path: Path) -> Iterator[Finding]:
    if not path.exists() and secret_key.exists(_data_dir()):
        said = f"The database {path} is missing, and the secret says that there was one."
        yield Finding("database", Level.WRONG, said, "Put it back from the backup.")
        return
    if not path.exists():
        said = f"There is no SQLite database at {path} yet."
        yield Finding("database", Level.ADVICE, said, "The first start makes it: flask run")
        return
    with db.engine.connect() as connection:
        settings = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "quick_check")
        }
    durable = settings["journal_mode"] == "wal" and settings["synchronous"] == 2
    if settings["quick_check"] != "ok":
        said = f"SQLite finds the database {path} damaged: {settings['quick_check']}"
        yield Finding("database", Level.WRONG, said, "Put it back from the backup.")
    elif not durable:
        said = f"SQLite at {path} does not use WAL with synchronous=FULL: it is not durable."
        yield Finding("database", Level.WRONG, said, "Put it on a local disk.")
    else:
        yield Finding("database", Level.FINE, f"SQLite at {path} is sound and durable.")
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        said = f"{path} or its folder cannot be written."
        yield Finding(
            "database", Level.WRONG, said, f"Give {path.parent} to whom the service runs as."
        )


def _schema(_now: datetime) -> Iterator[Finding]:
    path = file()
    if path is not None and not path.exists():
        return
    if schema.is_current():
        yield Finding("schema", Level.FINE, "The database has the schema that this version needs.")
        return
    said = "The database is behind this version, or ahead of it: nobody can sign in."
    todo = "Run: flask db upgrade" if path is None else "Start the service: it upgrades SQLite."
    yield Finding("schema", Level.WRONG, said, todo)


def _keys(now: datetime) -> Iterator[Finding]:
    if not schema.is_current():
        return
    table, days = keys.Timetable(keys.every_key()), current_app.config["FOXTROT_KEY_ROTATION_DAYS"]
    signing, waiting = table.signing(now), table.stand_by()
    if signing is None:
        said = "There is no signing key."
        yield Finding("keys", Level.WRONG, said, "Start the service once; it makes one.")
        return
    since = signing.signs_from or signing.created_at
    age = (now - since).days
    said = f"{signing.kid} ({signing.algorithm}) signs since {since:%Y-%m-%d}."
    yield Finding("keys", Level.FINE, said)
    if waiting is None:
        said = "There is no stand-by: after an emergency removal services would refuse tokens."
        yield Finding("keys", Level.WRONG, said, "Start the service; it makes one by itself.")
    if not days:
        if age > OLD.days:
            todo = "Run: flask keys rotate"
            yield Finding("keys", Level.ADVICE, "Keys never rotate by themselves here.", todo)
    elif age > days:
        said = f"The signing key should have been replaced after {days} days."
        todo = "Is the service running? It rotates by itself; or run: flask keys rotate"
        yield Finding("keys", Level.WRONG, said, todo)
    late = [life.kid for life in table.keys if life.state(now) is State.RETIRED]
    if late:
        said = f"Keys that are over are still there: {' '.join(late)}."
        yield Finding("keys", Level.ADVICE, said, "The service takes them away while it runs.")


def _clock(now: datetime) -> Iterator[Finding]:
    """Compare with the clock of PostgreSQL; SQLite has ours, but its rows must not be of later."""
    if file() is None:
        statement = select(func.extract("epoch", func.clock_timestamp()))
        with db.engine.connect() as connection:
            told = float(connection.execute(statement).scalar_one())
        apart = abs(datetime.fromtimestamp(told, UTC) - now)
        whose = "the database's clock"
    else:
        newest = db.session.scalar(select(func.max(AuditEvent.at))) if schema.is_current() else None
        apart = max(newest - now, timedelta(0)) if newest else timedelta(0)
        whose = "the time of the newest event"
    if apart <= CLOCK_SLACK:
        yield Finding(
            "clock", Level.FINE, f"The clock agrees with {whose}; it is {now:%H:%M:%S} UTC."
        )
        return
    level = Level.WRONG if apart > CLOCK_WRONG else Level.ADVICE
    far = f"{apart.days:,} days" if apart.days > 1 else f"{apart.total_seconds():.0f} seconds"
    said = f"The clock is {far} away from {whose}: tokens may be refused."
    yield Finding("clock", level, said, "Have all machines set their clocks by NTP.")


def _mail(_now: datetime) -> Iterator[Finding]:
    said = "This version sends no mail: who forgets a password needs a link from you."
    yield Finding("mail", Level.FINE, said, "flask users reset-link EMAIL makes one.")


def _secrets(_now: datetime) -> Iterator[Finding]:
    config, data_dir = current_app.config, _data_dir()
    setting, fallbacks = config["FOXTROT_SECRET_KEY"], config["FOXTROT_SECRET_KEY_FALLBACKS"]
    if data_dir.stat().st_mode & 0o077:
        said = f"The data folder {data_dir} can be read by other users of this machine."
        yield Finding("secrets", Level.ADVICE, said, f"Run: chmod 700 {data_dir}")
    if setting is None and not secret_key.exists(data_dir) and not schema.is_current():
        said = "There is no secret file yet."
        yield Finding("secrets", Level.ADVICE, said, "The first start makes it: flask run")
        return
    own = (
        secret_key.from_file(data_dir, may_create=False, fallbacks=fallbacks)
        if setting is None
        else SecretKey(setting, "FOXTROT_SECRET_KEY", fallbacks)
    )
    former = keys.count_of_former(own) if schema.is_current() else 0
    yield Finding("secrets", Level.FINE, f"The secret is that of {own.origin}, and fits.")
    if former:
        said = f"Keys that a secret of FOXTROT_SECRET_KEY_FALLBACKS encrypted: {former}."
        yield Finding("secrets", Level.ADVICE, said, "Run: flask keys rewrap")
    elif fallbacks:
        said = "No key needs FOXTROT_SECRET_KEY_FALLBACKS; refresh tokens may, for a while."
        todo = "Remove it once sessions of before the change have run out."
        yield Finding("secrets", Level.ADVICE, said, todo)


def _proxies(_now: datetime) -> Iterator[Finding]:
    url = current_app.config["FOXTROT_PUBLIC_URL"]
    if url is None:
        said = "FOXTROT_PUBLIC_URL is not set: only this machine is served."
        yield Finding("public URL", Level.ADVICE, said, "Set it before others are to sign in.")
        return
    parts = urlsplit(url)
    if parts.scheme == "https":
        yield from _behind_a_proxy()
        yield Finding("public URL", Level.FINE, f"People reach the service at {url}.")
    elif parts.hostname in ("localhost", "127.0.0.1", "::1"):
        said = f"{url} is this machine alone, without https."
        yield Finding("public URL", Level.ADVICE, said, "Before others come, set an https URL.")
    else:
        said = f"{url} is not https: passwords and tokens cross the network for all to read."
        todo = "Put a proxy with TLS in front, and set FOXTROT_PUBLIC_URL to its https URL."
        yield Finding("public URL", Level.WRONG, said, todo)


def _behind_a_proxy() -> Iterator[Finding]:
    if not current_app.config.get("FOXTROT_TRUSTED_PROXIES"):
        said = "No proxy is trusted, so every network address is that of the proxy with TLS."
        todo = "Set FOXTROT_TRUSTED_PROXIES to the number of proxies in front, if there are any."
        yield Finding("proxies", Level.ADVICE, said, todo)


def _rows(now: datetime) -> Iterator[Finding]:
    if not schema.is_current():
        return
    config = current_app.config
    longest = timedelta(seconds=config["FOXTROT_SESSION_ABSOLUTE_LIMIT"]) + GONE_AFTER
    oldest = db.session.scalar(select(LoginSession.created_at).order_by(LoginSession.id).limit(1))
    sessions = db.session.scalar(select(func.max(LoginSession.id))) or 0
    events = db.session.scalar(select(func.max(AuditEvent.id))) or 0
    said = f"About {sessions:,} sessions and {events:,} events were written in all."
    if oldest is None or now - oldest <= longest + CLEANED_WITHIN:
        yield Finding("old rows", Level.FINE, said)
        return
    said += f" A session of {oldest:%Y-%m-%d} is there still: old rows are not deleted."
    todo = "The service deletes them while it runs. Or run: flask prune"
    if not config["FOXTROT_CLEANING_EVERY"]:
        todo = (
            "FOXTROT_CLEANING_EVERY is 0: have a timer run flask prune, or leave the setting out."
        )
    yield Finding("old rows", Level.ADVICE, said, todo)


def _limits(now: datetime) -> Iterator[Finding]:
    url = current_app.config["FOXTROT_REDIS_URL"]
    if url is None:
        yield Finding("limits", Level.FINE, "The database counts for the limits.")
        return
    try:
        ratelimit.ValkeyStore(url).try_out(now)
    except ratelimit.FAILURES as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        said = f"FOXTROT_REDIS_URL does not do what is asked of it; the database counts. {reason}"
        todo = "See to that server, or to the setting. It needs version 6 or newer."
        yield Finding("limits", Level.WRONG, said, todo)
    else:
        said = f"The server of FOXTROT_REDIS_URL, {urlsplit(url).hostname}, counts for the limits."
        yield Finding("limits", Level.FINE, said)


def _administrators(_now: datetime) -> Iterator[Finding]:
    if not schema.is_current():
        return
    if users.any_admin():
        yield Finding("administrators", Level.FINE, "There is an administrator.")
    else:
        todo = "Run: flask setup-link"
        yield Finding("administrators", Level.ADVICE, "There is no administrator.", todo)


def _disk(_now: datetime) -> Iterator[Finding]:
    data_dir = _data_dir()
    disk = os.statvfs(data_dir)
    free = disk.f_bavail * disk.f_frsize
    said = f"{free // 1024 // 1024:,} MiB are free at {data_dir}."
    if free < LOW_DISK:
        yield Finding("disk", Level.WRONG, said, "Make room: without it nobody can sign in.")
    else:
        yield Finding("disk", Level.FINE, said)


def _data_dir() -> Path:
    return Path(current_app.config["FOXTROT_DATA_DIR"]).absolute()


_CHECKS: Final[Mapping[str, Check]] = {
    "database": _database,
    "schema": _schema,
    "disk": _disk,
    "keys": _keys,
    "clock": _clock,
    "secrets": _secrets,
    "public URL": _proxies,
    "limits": _limits,
    "mail": _mail,
    "old rows": _rows,
    "administrators": _administrators,
}
