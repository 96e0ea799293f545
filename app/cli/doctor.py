"""`flask doctor`: what is wrong, or could be better, and what to do about it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Final

import click
from flask.cli import with_appcontext

from app import doctor
from app.cli.terminal import json_option
from app.doctor import Level

_SIGNS: Final = {Level.FINE: "ok    ", Level.ADVICE: "advice", Level.WRONG: "WRONG "}


@click.command("doctor")
@json_option
@with_appcontext
def examine(as_json: bool) -> None:
    """Look for what is wrong or could be better, and say what to do; changes nothing.

    Exit code 1 if something is wrong, 0 if there is only advice.
    """
    found = doctor.examine(datetime.now(UTC))
    wrong = any(one.level is Level.WRONG for one in found)
    if as_json:
        report = {"healthy": not wrong, "findings": [one.as_dict() for one in found]}
        click.echo(json.dumps(report, indent=2))
    else:
        for one in found:
            click.echo(f"{_SIGNS[one.level]}  {one.check}: {one.said}")
            if one.todo:
                click.echo(f"{'':8}{one.todo}")
    sys.exit(1 if wrong else 0)
