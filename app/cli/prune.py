"""`flask prune`: delete now what nobody can ask about any more."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click
from flask.cli import with_appcontext

from app import cleaning
from app.cli.terminal import command, json_option


@click.command("prune")
@json_option
@with_appcontext
@command
def prune(as_json: bool) -> None:
    """Delete what nobody can ask about any more; the service does the same by itself."""
    counts = cleaning.counted(cleaning.clean(datetime.now(UTC)))
    if as_json:
        click.echo(json.dumps({"deleted": counts}, indent=2))
        return
    for name, number in counts.items():
        click.echo(f"{name}: {number:,} deleted")
