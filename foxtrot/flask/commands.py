"""`flask bearer routes`: who may call what, for whoever runs or reviews a service."""

from __future__ import annotations

import click
from flask import Flask, current_app
from flask.cli import AppGroup

from foxtrot.flask import routes

group = AppGroup("bearer", help="Who may call what.")


def attach(app: Flask) -> None:
    """Give the app the command, once; a command of that name of its own stays."""
    if "bearer" not in app.cli.commands:
        app.cli.add_command(group)


@group.command("routes")
def list_routes() -> None:
    """Print every route and who may call it; exit code 1 if nobody decided about one."""
    rows = sorted(routes.table(current_app), key=lambda row: (row.path, row.methods))
    lines = [(",".join(row.methods), row.path, " and ".join(row.who)) for row in rows]
    widths = [max((len(line[column]) for line in lines), default=0) for column in (0, 1)]
    for methods, path, who in lines:
        click.echo(f"{methods:{widths[0]}}  {path:{widths[1]}}  {who or 'NOBODY DECIDED'}")
    if not all(row.who for row in rows):
        raise click.exceptions.Exit(1)
