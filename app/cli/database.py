"""`flask db`: migrate the database, say how it stands, and move it to PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import current_app
from flask.cli import AppGroup

import config
from app import move, schema
from app.cli.terminal import command, in_words
from app.move import Report

group = AppGroup("db", help="Migrate the database, and move it to PostgreSQL.")


@group.command("upgrade")
@in_words
def upgrade() -> None:
    """Bring the schema up to date; may run on many machines at once."""
    schema.upgrade()
    click.echo(f"The schema is {schema.revision()[0]}.")


@group.command("downgrade")
@click.argument("revision")
@in_words
def downgrade(revision: str) -> None:
    """Bring the schema back to REVISION. What came with a later one is lost."""
    schema.downgrade(revision)
    click.echo(f"The schema is {schema.revision()[0] or 'gone'}.")


@group.command("current")
@in_words
def current() -> None:
    """Say which schema the database has, and which this version needs."""
    has, needs = schema.revision()
    click.echo(f"The database has {has or 'no schema'}, this version needs {needs}.")


@group.command("check")
@in_words
def check() -> None:
    """Say whether the migrations make what the models say; for whoever changes a model."""
    missing = schema.differences()
    if missing:
        raise click.ClickException("A migration is missing:\n" + "\n".join(missing))
    click.echo("The migrations make what the models say.")


@group.command("move")
@click.option("--to", "url", required=True, help="postgresql://user:password@host/name")
@command
def move_database(url: str) -> None:
    """Copy everything from SQLite to an empty PostgreSQL database: all, or nothing.

    Stop the service before. The SQLite file is left as it is.
    """
    try:
        target = config.database_url(url)
    except ValueError as error:
        raise click.BadParameter(f"expected {error}", param_hint="--to") from None
    if target.startswith("sqlite"):
        raise click.BadParameter("expected a PostgreSQL database", param_hint="--to")
    with _progress() as report:
        counts = move.to_postgresql(target, current_app.extensions["foxtrot_secret_key"], report)
    click.echo(f"Moved and counted: {sum(counts.values())} rows in {len(counts)} tables.")
    click.echo("The secret opens the signing keys there. Now set, before the service starts:")
    click.echo(f"  FOXTROT_DATABASE_URL={config.masked(url)}   (with the password)")
    click.echo(f"  {_about_the_secret()}")


def _about_the_secret() -> str:
    if current_app.config["FOXTROT_SECRET_KEY"] is not None:
        return "FOXTROT_SECRET_KEY   as it is now"
    origin = current_app.extensions["foxtrot_secret_key"].origin
    return f"FOXTROT_SECRET_KEY_FILE={origin}   (or a copy of that file, on each machine)"


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar for each table on a terminal, a line for each elsewhere."""
    bars: list[click._termui_impl.ProgressBar[int]] = []

    def on_a_terminal(table: str, done: int, total: int) -> None:
        if done == 0:
            _end(bars)
            bars.append(click.progressbar(length=max(total, 1), label=f"{table:<16}"))
        bars[-1].update(done - bars[-1].pos if total else 1)

    def in_a_pipe(table: str, done: int, total: int) -> None:
        if done == total:
            click.echo(f"{table}: {total}")

    yield on_a_terminal if sys.stdout.isatty() else in_a_pipe
    _end(bars)


def _end(bars: list[click._termui_impl.ProgressBar[int]]) -> None:
    for bar in bars:
        bar.render_finish()
    bars.clear()
