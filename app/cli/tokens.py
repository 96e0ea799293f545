"""`flask tokens`: look into access tokens."""

from __future__ import annotations

import json
import sys

import click
from flask.cli import AppGroup

from app import inspection
from app.cli.terminal import command, json_option, read_stdin

group = AppGroup("tokens", help="Look into access tokens.")


@group.command("inspect")
@click.argument("token")
@click.option("--audience", help="The service that would judge; by default the token's first.")
@json_option
@command
def inspect_token(token: str, audience: str | None, as_json: bool) -> None:
    """Decode a token, and say whether and why a service would refuse it.

    TOKEN is the token, or - to read it from standard input. Exit code 1 if it
    would be refused.
    """
    text = read_stdin().strip() if token == "-" else token  # noqa: S105 - a dash, no secret
    report = inspection.inspect(text, audience)
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.as_text())
    if report.reasons:
        sys.exit(1)
