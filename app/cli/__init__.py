"""The door for whoever runs the service: the list of its commands.

Exit codes: 0 done, 1 refused, 2 the command line is wrong. `--json` writes one
JSON document to standard output and nothing else.
"""

from __future__ import annotations

import click
from flask import Flask
from flask.cli import with_appcontext

from app import accounts
from app.cli import (
    database,
    doctor,
    events,
    keys,
    prune,
    serve,
    services,
    sessions,
    settings,
    tokens,
    transfer,
    users,
)
from app.cli.terminal import command


def init_app(app: Flask, database_failures: tuple[type[Exception], ...]) -> None:
    """Attach all commands."""
    app.extensions["foxtrot_database_failures"] = database_failures
    for group in (
        users.group,
        services.group,
        sessions.group,
        keys.group,
        tokens.group,
        settings.group,
        database.group,
    ):
        app.cli.add_command(group)
    transfer.init_group(users.group)
    app.cli.add_command(events.list_events)
    app.cli.add_command(doctor.examine)
    app.cli.add_command(prune.prune)
    app.cli.add_command(setup_link)
    app.cli.add_command(serve.serve)


@click.command("setup-link")
@with_appcontext
@command
def setup_link() -> None:
    """Print a link by which the first administrator is made; once, within 30 minutes."""
    click.echo(accounts.setup_url())
