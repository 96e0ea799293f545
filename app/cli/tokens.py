"""`flask tokens`: look into access tokens, and see whether services check them."""

from __future__ import annotations

import json
import sys

import click
from flask.cli import AppGroup

from app import attack, inspection, probe
from app.cli.terminal import command, find_user, json_option, read_stdin
from app.client import operator

group = AppGroup("tokens", help="Look into access tokens, and see whether services check them.")


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
    if text[:7].lower() == "bearer ":
        text = text[7:].strip()  # copied together with the header's scheme
    report = inspection.inspect(text, audience)
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.as_text())
    if report.reasons:
        sys.exit(1)


@group.command("attack")
@click.argument("url")
@click.option("--audience", required=True, help="The service's name, as in `aud`.")
@click.option("--scope", "scopes", multiple=True, help="A scope that the route demands.")
@click.option("--method", default="GET", show_default=True, help="How the route is called.")
@click.option(
    "--header", "headers", multiple=True, help="A header for all requests: 'Name: value'."
)
@click.option("--data", help="A body for all requests.")
@click.option("--user", "who", help="Attack with tokens of this user, not of one made for it.")
@click.option("--host", help="Permit an attack on a host that is not this machine: its name again.")
@click.option("--skip", "skipped", multiple=True, help="Leave a wrong token out, by its name.")
@click.option("--strict", is_flag=True, help="Count what the standards permit to accept, too.")
@json_option
@command
def attack_service(
    url: str,
    audience: str,
    scopes: tuple[str, ...],
    method: str,
    headers: tuple[str, ...],
    data: str | None,
    who: str | None,
    host: str | None,
    skipped: tuple[str, ...],
    strict: bool,
    as_json: bool,
) -> None:
    """Send wrong tokens to URL, a route of a service, and say which of them it lets through.

    About ninety tokens, validly signed and wrong, or forged. First a good one has to be
    accepted, so the route must answer 2xx to who may call it. Exit code 1 if there is something
    to mend, or if nothing can be concluded.
    """
    target = probe.target_of(url, method, headers, data, host)
    user = None if who is None else find_user(who)
    plan = attack.Plan(target, audience, scopes, user, frozenset(skipped), strict)
    report = attack.run(plan, operator(), lambda text: click.echo(text, err=True))
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.as_text())
    if not report.holds:
        sys.exit(1)
