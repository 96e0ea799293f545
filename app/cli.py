"""The door for whoever runs the service: `flask users | tokens | config | setup-link`.

Exit codes: 0 done, 1 refused, 2 the command line is wrong. `--json` writes one
JSON document to standard output and nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click
from flask import Flask, current_app
from flask.cli import AppGroup, with_appcontext

import config
from app import inspection, login, sessions, users
from app.errors import AppError, StartRefused, ValidationFailed
from app.users import User

P = ParamSpec("P")
R = TypeVar("R")

users_group = AppGroup("users", help="Create, show and change users.")
tokens_group = AppGroup("tokens", help="Look into access tokens.")
config_group = AppGroup("config", help="Show the settings.")


def init_app(app: Flask) -> None:
    """Attach all commands."""
    for group in (users_group, tokens_group, config_group):
        app.cli.add_command(group)
    app.cli.add_command(setup_link)


def command(view: Callable[P, R]) -> Callable[P, R]:
    """Prepare the database first; turn a refusal into its words and exit code 1."""

    @wraps(view)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            current_app.extensions["foxtrot_prepare"]()
            return view(*args, **kwargs)
        except StartRefused as refusal:
            raise click.ClickException(str(refusal)) from None
        except ValidationFailed as refusal:
            lines = [f"{field}: {' '.join(said)}" for field, said in refusal.errors.items()]
            raise click.ClickException("\n".join(lines)) from None
        except AppError as refusal:
            raise click.ClickException(refusal.detail) from None

    return run


email_argument = click.argument("email")
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@users_group.command("create")
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
    if users.fold_email(email) is None:
        raise click.ClickException(f"{email!r} is not an e-mail address.")
    if users.by_email(email) is not None:
        raise click.ClickException("A user with this e-mail address exists already.")
    granted = [*_checked_scopes(scopes), *([users.ADMIN] if admin else [])]
    user = users.create(email, _read_password(password_stdin), scopes=granted)
    _show([user], as_json, single=True)


@users_group.command("list")
@json_option
@command
def list_users(as_json: bool) -> None:
    """List all users."""
    _show(list(users.everybody()), as_json)


@users_group.command("show")
@email_argument
@json_option
@command
def show_user(email: str, as_json: bool) -> None:
    """Show one user."""
    _show([_user(email)], as_json, single=True)


@users_group.command("set-password")
@email_argument
@password_option
@command
def set_password(email: str, password_stdin: bool) -> None:
    """Give a user a new password; all their sessions end."""
    user = _user(email)
    users.set_password(user, _read_password(password_stdin))
    sessions.end_all(user)
    click.echo(f"{user.email} has a new password and is signed out everywhere.")


@users_group.command("set-scopes")
@email_argument
@click.argument("scopes", nargs=-1)
@command
def set_scopes(email: str, scopes: tuple[str, ...]) -> None:
    """Replace the scopes that a user holds besides everybody's; none takes all away."""
    user = _user(email)
    users.set_scopes(user, _checked_scopes(scopes))
    click.echo(f"{user.email} holds: {' '.join(sorted(user.scopes))}")


@users_group.command("reset-link")
@email_argument
@command
def reset_link(email: str) -> None:
    """Print a link by which a user chooses a new password; good once, for 30 minutes."""
    click.echo(login.reset_url(_user(email)))


@users_group.command("disable")
@email_argument
@command
def disable_user(email: str) -> None:
    """Keep a user out, at once, until enabled again."""
    user = _user(email)
    users.disable(user)
    sessions.end_all(user)
    click.echo(f"{user.email} is disabled and signed out everywhere.")


@users_group.command("enable")
@email_argument
@command
def enable_user(email: str) -> None:
    """Let a disabled user in again."""
    user = _user(email)
    users.enable(user)
    click.echo(f"{user.email} is enabled.")


@users_group.command("delete")
@email_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def delete_user(email: str, yes: bool) -> None:
    """Delete a user and everything that is theirs."""
    user = _user(email)
    address = user.email
    if not yes:
        click.confirm(f"Delete {address} for good?", abort=True)
    users.delete(user)
    click.echo(f"{address} is deleted.")


@tokens_group.command("inspect")
@click.argument("token")
@click.option("--audience", help="The service that would judge; by default the token's first.")
@json_option
@command
def inspect_token(token: str, audience: str | None, as_json: bool) -> None:
    """Decode a token, and say whether and why a service would refuse it.

    TOKEN is the token, or - to read it from standard input. Exit code 1 if it
    would be refused.
    """
    text = _read_stdin().strip() if token == "-" else token  # noqa: S105 - a dash, no secret
    report = inspection.inspect(text, audience)
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.as_text())
    if report.reasons:
        sys.exit(1)


@config_group.command("show")
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


@config_group.command("example")
def example_config() -> None:
    """Write an `.env.example` with every setting."""
    click.echo(config.example(), nl=False)


@config_group.command("table")
def config_table() -> None:
    """Write the table of settings, in Markdown, that stands in the docs."""
    click.echo(config.table(), nl=False)


@click.command("setup-link")
@with_appcontext
@command
def setup_link() -> None:
    """Print a link by which the first administrator is made; once, within 30 minutes."""
    click.echo(login.setup_url())


def _user(email: str) -> User:
    """Find a user by address or by id."""
    user = users.by_public_id(email) or users.by_email(email)
    if user is None:
        raise click.ClickException(f"There is no user {email!r}. See: flask users list")
    return user


def _read_password(from_stdin: bool) -> str:
    if from_stdin:
        return _read_stdin().partition("\n")[0].rstrip("\r")
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: give --password-stdin.")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def _read_stdin() -> str:
    """Standard input as UTF-8, whatever the locale; what is none becomes what nobody types."""
    return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")


def _checked_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    for scope in scopes:
        if not users.is_scope(scope):
            raise click.UsageError(f"{scope!r} is not a scope: no spaces, quotes or backslashes.")
    return scopes


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
        "created_at": _rfc3339(user.created_at),
        "disabled_at": _rfc3339(user.disabled_at) if user.disabled_at else None,
    }


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(setting: config.Setting) -> Any:
    value = current_app.config[setting.name]
    if value is None:
        return None
    if setting.secret:
        return config.masked(str(value))
    return ",".join(value) if isinstance(value, tuple) else value
