"""`flask events`: what happened, newest first."""

from __future__ import annotations

import json
from typing import Final

import click
from flask.cli import with_appcontext

from app import audit
from app.audit import Event
from app.cli.terminal import command, find_user, json_option, table

_NAMES: Final = [event.value for event in Event if event not in audit.LOG_ONLY]


@click.command("events")
@click.option("--user", "who", help="Only of this user: an address, or an id, also of one deleted.")
@click.option("--name", type=click.Choice(_NAMES), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@with_appcontext
@command
def list_events(who: str | None, name: str | None, limit: int, as_json: bool) -> None:
    """Show what happened, newest first."""
    found = audit.newest(limit, user=_id_of(who), name=Event(name) if name else None)
    rows = [audit.as_dict(event) for event in found]
    if as_json:
        click.echo(json.dumps({"events": rows}, indent=2))
        return
    if not rows:
        click.echo("Nothing happened yet.")
        return
    table(_COLUMNS, rows)


_COLUMNS = ("at", "event", "reason", "user", "session", "service", "actor", "address", "device")


def _id_of(who: str | None) -> str | None:
    is_id = who is not None and who.startswith("u_") and "@" not in who
    if who is None or is_id:  # an id also of a user who is no more
        return who
    return find_user(who).public_id
