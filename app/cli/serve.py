"""`flask serve`: the production server."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import with_appcontext

from app import banner, lanes, server
from app.cli.terminal import prepared
from app.errors import StartRefused


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=5000, show_default=True, help="The port to listen at.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes; as many as this machine has cores, and at least two, if not given.",
)
@click.option(
    "--threads",
    type=click.IntRange(4, 1024),
    help="Requests that each process answers at once; enough for full lanes and 16 more, if not"
    " given.",
)
@with_appcontext
@prepared
def serve(host: str, port: int, workers: int | None, threads: int | None) -> None:
    """Serve for others, until SIGTERM: requests in hand are finished then."""
    if current_app.debug:
        raise StartRefused(
            "flask serve is for production, and debug mode lets anybody run code."
            " Remove FLASK_DEBUG and --debug, or use flask run."
        )
    banner.refuse_port_in_use()
    current_app.extensions["foxtrot_serve_at"](port)
    banner.show(current_app)
    number = current_app.extensions["foxtrot_lanes"].number
    server.serve(
        current_app.extensions["foxtrot_load"],
        host,
        port,
        workers or max(2, lanes.cores()),
        threads or number + lanes.QUEUE + 16,
        current_app.config["MAX_CONTENT_LENGTH"],
    )
