"""What `flask run` says when it starts: where to go, and how to make an administrator."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress

import click
from flask import Flask

from app import accounts, schema, users
from app.errors import StartRefused


def refuse_port_in_use() -> None:
    """Say in one line that the port is taken, before anything else is said.

    :raises StartRefused: another program listens there.
    """
    if _is_reloaded():
        return
    params = click.get_current_context().params
    host, port = params.get("host") or "127.0.0.1", params["port"]
    if host.startswith("unix:") or params.get("cert"):
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError:
            raise StartRefused(f"There is no port {port}. Choose one up to 65535.") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StartRefused(
                    f"Port {port} is in use by another program. Stop that one, or choose"
                    f" another port, such as --port {port + 1}"
                ) from None


def show(app: Flask) -> None:
    """Print where things are."""
    if _is_reloaded():
        return
    url = app.config["ISSUER"]
    lines = [
        f"{app.config['FOXTROT_SITE_NAME']} is starting.",
        f"  Sign in   {url}/login",
        f"  API       {url}/api/me",
        f"  API docs  {url}/docs",
    ]
    with app.app_context():
        lines += _about_the_first_administrator()
    with suppress(OSError):  # on a full disk nobody reads it
        click.echo("\n".join(lines))


def _about_the_first_administrator() -> list[str]:
    if not schema.is_current():
        return ["The database schema is not current. Run: flask db upgrade"]
    if users.any_admin():
        return []
    if sys.stdout.isatty():
        how = [f"  {accounts.setup_url()}", "  (once, within 30 minutes), or run:"]
    else:
        how = ["  flask setup-link", "  and open the link it prints, or run:"]
    return [
        "There is no administrator yet. To make the first one,"
        + (" open" if sys.stdout.isatty() else " run"),
        *how,
        "  flask users create you@example.com --admin",
    ]


def _is_reloaded() -> bool:
    """Say whether this is the second process of debug mode, which starts again and again."""
    return os.environ.get("WERKZEUG_RUN_MAIN") == "true"
