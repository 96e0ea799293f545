"""`flask config`: show the settings."""

from __future__ import annotations

import json
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

import config
from app.cli.terminal import json_option

group = AppGroup("config", help="Show the settings.")


@group.command("show")
@json_option
@with_appcontext
def show_config(as_json: bool) -> None:
    """Show every setting and its value; secrets are masked."""
    shown = {setting.name: _shown(setting) for setting in config.SETTINGS}
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for name, value in shown.items():
        click.echo(f"{name}={value if value is not None else ''}")


@group.command("example")
def example_config() -> None:
    """Write an `.env.example` with every setting."""
    click.echo(config.example(), nl=False)


@group.command("table")
def config_table() -> None:
    """Write the table of settings, in Markdown, that stands in the docs."""
    click.echo(config.table(), nl=False)


def _shown(setting: config.Setting) -> Any:
    value = current_app.config[setting.name]
    if value is None or (setting.secret and not value):
        return None
    if setting.secret:
        return config.masked(str(value))
    if setting.name.startswith("FOXTROT_LIMIT_"):
        return ",".join(map(str, value)) or "off"
    return ",".join(value) if isinstance(value, tuple) else value
