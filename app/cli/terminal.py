"""What all commands share: refusals in words and an exit code, reading, finding, writing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import wraps
from typing import Final, ParamSpec, TypeVar

import click
from flask import current_app

from app import logs, users
from app.errors import AppError, MoveRefused, StartRefused, ValidationFailed
from app.users import User

P = ParamSpec("P")
R = TypeVar("R")

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


def command(view: Callable[P, R]) -> Callable[P, R]:
    """Do what a person asked for once: as `prepared`, and no lines of events at a terminal."""

    @wraps(view)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        at_a_terminal = sys.stderr.isatty()  # elsewhere it may be the log that is kept
        with logs.without_audit_lines() if at_a_terminal else nullcontext():
            return view(*args, **kwargs)

    return prepared(run)


def prepared(view: Callable[P, R]) -> Callable[P, R]:
    """Prepare the database first; turn a refusal into its words and exit code 1."""

    @wraps(view)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        current_app.extensions["foxtrot_prepare"]()
        return view(*args, **kwargs)

    return in_words(run)


def in_words(view: Callable[P, R]) -> Callable[P, R]:
    """Turn a refusal, and a database that does not answer, into words and exit code 1."""

    @wraps(view)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return view(*args, **kwargs)
        except current_app.extensions["foxtrot_database_failures"] as failure:
            reason = " ".join(str(getattr(failure, "orig", failure)).split())
            raise click.ClickException(f"The database does not answer: {reason}") from None
        except (StartRefused, MoveRefused) as refusal:
            raise click.ClickException(str(refusal)) from None
        except ValidationFailed as refusal:
            lines = [f"{field}: {' '.join(said)}" for field, said in refusal.errors.items()]
            raise click.ClickException("\n".join(lines)) from None
        except AppError as refusal:
            raise click.ClickException(refusal.detail) from None

    return run


def find_user(who: str) -> User:
    """Find a user by address or by id."""
    user = users.by_public_id(who) or users.by_email(who)
    if user is None:
        raise click.ClickException(f"There is no user {who!r}. See: flask users list")
    return user


def read_stdin() -> str:
    """Standard input as UTF-8, whatever the locale; what is none becomes what nobody types."""
    return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")


def table(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Print rows below the names of what they have; a dash where one lacks it."""
    listed = list(rows)
    shown = [name for name in columns if any(row.get(name) for row in listed)]
    lines = [shown, *([row.get(name) or "-" for name in shown] for row in listed)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(shown))]
    for line in lines:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        click.echo("  ".join(padded).rstrip())


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
