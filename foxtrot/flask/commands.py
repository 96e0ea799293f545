"""`flask bearer routes`: who may call what, for whoever runs or reviews a service."""

from __future__ import annotations

import json
from collections.abc import Sequence

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
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def list_routes(as_json: bool) -> None:
    """Print every route and who may call it; exit code 1 if nobody decided about one."""
    rows = sorted(routes.table(current_app), key=lambda row: (row.path, row.methods))
    if as_json:
        click.echo(json.dumps({"routes": [row._asdict() for row in rows]}, indent=2))
    else:
        _print(rows)
    if not all(row.who for row in rows):
        raise click.exceptions.Exit(1)


def _print(rows: Sequence[routes.Row]) -> None:
    lines = [(",".join(row.methods), row.path, " and ".join(row.who)) for row in rows]
    widths = [max((len(line[column]) for line in lines), default=0) for column in (0, 1)]
    for methods, path, who in lines:
        click.echo(f"{methods:{widths[0]}}  {path:{widths[1]}}  {who or 'NOBODY DECIDED'}")
