"""`flask services`: add, show and change services and machine clients."""

from __future__ import annotations

import json
from typing import Any

import click
from flask.cli import AppGroup

from app import services
from app.cli.terminal import command, json_option, rfc3339
from app.client import operator
from app.services import REREAD, Service

group = AppGroup("services", help="Add, show and change services and machine clients.")

name_argument = click.argument("name")

_SOON = (
    f"Tokens can be for it within {REREAD.seconds} seconds; who is signed in refreshes or signs in"
    " anew."
)


@group.command("add")
@name_argument
@click.option("--scope", "scopes", multiple=True, help="A scope its routes ask for; repeatable.")
@click.option("--may", multiple=True, help="A scope of another it may use; repeatable.")
@click.option("--secret", "with_secret", is_flag=True, help="Give it a secret; --may does, too.")
@json_option
@command
def add_service(
    name: str, scopes: tuple[str, ...], may: tuple[str, ...], with_secret: bool, as_json: bool
) -> None:
    """Add the service NAME: tokens can be for it from then on, within half a minute."""
    service, secret = services.add(
        name, operator(), scopes=scopes, may=may, with_secret=with_secret
    )
    _show([service], as_json, secret=secret, single=True)
    if not as_json:
        _say_from_when(service)


@group.command("list")
@json_option
@command
def list_services(as_json: bool) -> None:
    """List all services."""
    _show(services.everyone(), as_json)


@group.command("show")
@name_argument
@json_option
@command
def show_service(name: str, as_json: bool) -> None:
    """Show one service."""
    _show([_find(name)], as_json, single=True)


@group.command("set-scopes")
@name_argument
@click.argument("scopes", nargs=-1)
@command
def set_scopes(name: str, scopes: tuple[str, ...]) -> None:
    """Replace the scopes that a service declares; none leaves it open to everybody."""
    service = _find(name)
    services.set_scopes(service, scopes, operator())
    click.echo(f"{service.name} declares: {service.declared_scopes or 'no scopes'}")
    _say_from_when(service)


@group.command("set-may")
@name_argument
@click.argument("scopes", nargs=-1)
@command
def set_may(name: str, scopes: tuple[str, ...]) -> None:
    """Replace the scopes that a machine may use at other services; none takes all away."""
    service = _find(name)
    services.set_may(service, scopes, operator())
    click.echo(f"{service.name} may use: {service.granted_scopes or 'no scopes'}")


@group.command("secret")
@name_argument
@json_option
@command
def renew_secret(name: str, as_json: bool) -> None:
    """Give a service a new secret; the old one is refused at once."""
    service = _find(name)
    secret = services.renew_secret(service, operator())
    _show([service], as_json, secret=secret, single=True)


@group.command("disable")
@name_argument
@command
def disable_service(name: str) -> None:
    """Take a service out until it is enabled: no token is for it, its secret is refused."""
    service = _find(name)
    services.disable(service, operator())
    click.echo(f"{service.name} is disabled.")


@group.command("enable")
@name_argument
@command
def enable_service(name: str) -> None:
    """Take a disabled service in again."""
    service = _find(name)
    services.enable(service, operator())
    click.echo(f"{service.name} is enabled.")


@group.command("remove")
@name_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def remove_service(name: str, yes: bool) -> None:
    """Remove a service: no token is for it, its secret is refused."""
    service = _find(name)
    if not yes:
        click.confirm(f"Remove {name} for good?", abort=True)
    services.remove(service, operator())
    click.echo(f"{name} is removed.")


def _say_from_when(service: Service) -> None:
    """Say when a change is seen by the service that runs, which reads the table now and then."""
    if service.declared_scopes or not service.granted_scopes:  # else it only calls others
        click.echo(_SOON)


def _find(name: str) -> Service:
    service = services.by_name(name)
    if service is None:
        raise click.ClickException(f"There is no service {name!r}. See: flask services list")
    return service


def _show(shown: Any, as_json: bool, *, secret: str | None = None, single: bool = False) -> None:
    rows = [_as_dict(service) for service in shown]
    if as_json:
        kept = {"secret": secret} if secret else {}
        click.echo(json.dumps({**rows[0], **kept} if single else {"services": rows}, indent=2))
        return
    if not rows:
        click.echo("There are no services. Add one with: flask services add NAME")
    for row in rows:
        state = "disabled" if row["disabled_at"] else "enabled"
        parts = [row["id"], row["name"], state, *row["scopes"]]
        click.echo("  ".join([*parts, *(f"may {scope}" for scope in row["may"])]))
    if secret:
        click.echo(f"client_secret  {secret}")
        click.echo("It is shown this once. The client_id is the id above.")


def _as_dict(service: Service) -> dict[str, Any]:
    return {
        "id": service.public_id,
        "name": service.name,
        "scopes": sorted(service.declares),
        "may": sorted(service.may),
        "has_secret": service.secret_hash is not None,
        "created_at": rfc3339(service.created_at),
        "disabled_at": rfc3339(service.disabled_at) if service.disabled_at else None,
    }
