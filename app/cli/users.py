"""`flask users`: create, show and change users."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from flask.cli import AppGroup

from app import accounts, addresses, services, users
from app.cli.terminal import command, find_user, json_option, read_stdin, rfc3339
from app.client import operator
from app.users import User

group = AppGroup("users", help="Create, show and change users.")

email_argument = click.argument("email")
password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@group.command("create")
@email_argument
@click.option("--admin", is_flag=True, help="Make the user an administrator.")
@click.option("--scope", "scopes", multiple=True, help="Give a scope; may be repeated.")
@password_option
@json_option
@command
def create_user(
    email: str, admin: bool, scopes: tuple[str, ...], password_stdin: bool, as_json: bool
) -> None:
    """Create a user."""
    if addresses.fold(email) is None:
        raise click.ClickException(f"{email!r} is not an e-mail address.")
    if users.by_email(email) is not None:
        raise click.ClickException("A user with this e-mail address exists already.")
    granted = [*_checked_scopes(scopes), *([users.ADMIN] if admin else [])]
    user = users.create(email, _read_password(password_stdin), operator(), scopes=granted)
    _warn_of_undeclared(scopes)
    _show([user], as_json, single=True)


@group.command("list")
@json_option
@command
def list_users(as_json: bool) -> None:
    """List all users."""
    _show(list(users.everybody()), as_json)


@group.command("show")
@email_argument
@json_option
@command
def show_user(email: str, as_json: bool) -> None:
    """Show one user."""
    _show([find_user(email)], as_json, single=True)


@group.command("set-password")
@email_argument
@password_option
@command
def set_password(email: str, password_stdin: bool) -> None:
    """Give a user a new password; all their sessions end."""
    user = find_user(email)
    accounts.set_password(user, _read_password(password_stdin), operator())
    click.echo(f"{user.email} has a new password and is signed out everywhere.")


@group.command("set-scopes")
@email_argument
@click.argument("scopes", nargs=-1)
@command
def set_scopes(email: str, scopes: tuple[str, ...]) -> None:
    """Replace the scopes that a user holds besides everybody's; none takes all away."""
    user = find_user(email)
    users.set_scopes(user, _checked_scopes(scopes), operator())
    _warn_of_undeclared(scopes)
    click.echo(f"{user.email} holds: {' '.join(sorted(user.scopes))}")


@group.command("reset-link")
@email_argument
@command
def reset_link(email: str) -> None:
    """Print a link by which a user chooses a new password; good once, for 30 minutes."""
    click.echo(accounts.reset_url(find_user(email), operator()))


@group.command("disable")
@email_argument
@command
def disable_user(email: str) -> None:
    """Keep a user out, at once, until enabled again."""
    user = find_user(email)
    accounts.disable(user, operator())
    click.echo(f"{user.email} is disabled and signed out everywhere.")


@group.command("enable")
@email_argument
@command
def enable_user(email: str) -> None:
    """Let a disabled user in again."""
    user = find_user(email)
    users.enable(user, operator())
    click.echo(f"{user.email} is enabled.")


@group.command("unlock")
@email_argument
@command
def unlock_user(email: str) -> None:
    """Let a user sign in again, whatever was counted against them."""
    user = find_user(email)
    accounts.unlock(user, operator())
    click.echo(f"{user.email} may sign in again; what was counted begins anew.")


@group.command("delete")
@email_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def delete_user(email: str, yes: bool) -> None:
    """Delete a user and everything that is theirs."""
    user = find_user(email)
    address = user.email
    if not yes:
        click.confirm(f"Delete {address} for good?", abort=True)
    accounts.delete(user, operator())
    click.echo(f"{address} is deleted.")


def _read_password(from_stdin: bool) -> str:
    if from_stdin:
        return read_stdin().partition("\n")[0].rstrip("\r")
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: give --password-stdin.")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def _checked_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    for scope in scopes:
        if not users.is_scope(scope):
            raise click.UsageError(f"{scope!r} is not a scope: no spaces, quotes or backslashes.")
    return scopes


def _warn_of_undeclared(scopes: tuple[str, ...]) -> None:
    """Say which scopes open nothing yet: they may be misspelt, or their service follows."""
    declared = services.declared_by()
    if unknown := sorted(set(scopes) - declared - services.OWN_SCOPES):
        click.echo(
            f"Warning: no service declares {' '.join(unknown)}. Declared are:"
            f" {' '.join(sorted(declared)) or 'none'}.",
            err=True,
        )


def _show(shown: list[User], as_json: bool, *, single: bool = False) -> None:
    rows = [_as_dict(user) for user in shown]
    if as_json:
        click.echo(json.dumps(rows[0] if single else {"users": rows}, indent=2))
        return
    if not rows:
        click.echo("There are no users. Make one with: flask users create EMAIL")
    for row in rows:
        state = "disabled" if row["disabled_at"] else "enabled"
        click.echo(f"{row['id']}  {row['email']}  {state}  {' '.join(row['scopes'])}")


def _as_dict(user: User) -> dict[str, Any]:
    return {
        "id": user.public_id,
        "email": user.email,
        "email_verified": user.email_verified_at is not None,
        "scopes": sorted(user.scopes),
        "created_at": rfc3339(user.created_at),
        "disabled_at": rfc3339(user.disabled_at) if user.disabled_at else None,
    }
