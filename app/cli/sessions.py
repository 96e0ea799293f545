"""`flask sessions`: show and end login sessions."""

from __future__ import annotations

import json

import click
from flask.cli import AppGroup

from app import accounts, sessions
from app.cli.terminal import command, find_user, json_option, rfc3339, table
from app.client import operator
from app.sessions import Ending, LoginSession

group = AppGroup("sessions", help="Show and end login sessions.")


@group.command("list")
@click.argument("email", required=False)
@json_option
@command
def list_sessions(email: str | None, as_json: bool) -> None:
    """List the live sessions of everybody, or of the user EMAIL."""
    user = None if email is None else find_user(email)
    rows = [_as_dict(session) for session in sessions.live(user)]
    if as_json:
        click.echo(json.dumps({"sessions": rows}, indent=2))
        return
    if not rows:
        click.echo("Nobody is signed in.")
        return
    table(_COLUMNS, rows)


@group.command("end")
@click.argument("session_ids", metavar="[SESSION]...", nargs=-1)
@click.option("--user", "email", help="End all sessions of this user.")
@click.option(
    "--everything",
    is_flag=True,
    help="End every session and one-time link there is; after a backup was restored.",
)
@command
def end_sessions(session_ids: tuple[str, ...], email: str | None, everything: bool) -> None:
    """End sessions by their ids, all of a user, or everything."""
    if (bool(session_ids), bool(email), everything).count(True) != 1:
        raise click.UsageError("Give session ids, or --user EMAIL, or --everything.")
    who = operator()
    if everything:
        count = accounts.end_everything(who)
    elif email:
        count = sessions.end_all(find_user(email), Ending.ENDED_BY_OPERATOR, who)
    else:
        found = [_find(session_id) for session_id in session_ids]
        count = sum(sessions.end(session, Ending.ENDED_BY_OPERATOR, who) for session in found)
    click.echo(f"Sessions ended: {count}")


_COLUMNS = ("id", "user", "email", "address", "device", "amr", "last_seen_at")


def _find(public_id: str) -> LoginSession:
    session = sessions.find(public_id)
    if session is None:
        raise click.ClickException(f"There is no session {public_id!r}. See: flask sessions list")
    return session


def _as_dict(session: LoginSession) -> dict[str, str]:
    return {
        "id": session.public_id,
        "user": session.user.public_id,
        "email": session.user.email,
        "address": session.address,
        "device": session.device,
        "amr": session.amr,
        "created_at": rfc3339(session.created_at),
        "last_seen_at": rfc3339(session.last_seen_at),
    }
