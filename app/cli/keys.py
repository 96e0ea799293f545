"""`flask keys`: show signing keys, and change which one signs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

import click
from flask import current_app
from flask.cli import AppGroup

from app import keys
from app.cli.terminal import command, json_option, rfc3339
from app.client import operator
from app.keys import KeyRing, Life, Removal

_A_NAME_MAY_BEGIN_WITH_A_DASH: Final = {"ignore_unknown_options": True}

group = AppGroup("keys", help="Show and rotate the keys that sign access tokens.")


@group.command("list")
@json_option
@command
def list_keys(as_json: bool) -> None:
    """List all keys, oldest first, with their states and what may happen to them when."""
    now = datetime.now(UTC)
    lives = keys.every_key()
    if as_json:
        click.echo(json.dumps({"keys": [_as_dict(life, now) for life in lives]}, indent=2))
        return
    if not lives:
        click.echo("There are no keys yet. The first start makes them.")
    for life in lives:
        about = keys.about(life, now)
        click.echo(f"{life.kid:<43}  {life.algorithm}  {life.state(now):<9}  {about}")
    _say_if_shared(lives, now)


@group.command("rotate")
@command
def rotate() -> None:
    """Let the stand-by sign, and the key that signs now retire when its tokens are over."""
    life, when = keys.rotate(_ring().policy, _ring().secret_key, operator())
    click.echo(f"From {_time(when)} on, {life.kid} signs. Tokens signed before stay good.")
    _say_if_shared(keys.every_key(), when)


@group.command("retire", context_settings=_A_NAME_MAY_BEGIN_WITH_A_DASH)
@click.argument("kid")
@command
def retire(kid: str) -> None:
    """Take the key KID out of the JWK Set, if nothing that it signed can be valid."""
    keys.retire(kid, _ring().policy, _ring().secret_key, operator())
    click.echo(f"{kid} is retired: its private half is destroyed, and nobody is shown it.")


@group.command("remove", context_settings=_A_NAME_MAY_BEGIN_WITH_A_DASH)
@click.argument("kid")
@click.option("--now", "at_once", is_flag=True, help="In an emergency, although it is in use.")
@command
def remove(kid: str, at_once: bool) -> None:
    """Remove the key KID; with --now also one that is in use and may be known to a thief."""
    now = datetime.now(UTC)
    ring = _ring()
    removal = keys.remove(kid, ring.policy, ring.secret_key, operator(), now, at_once=at_once)
    click.echo(f"{kid} is removed.")
    for line in _consequences(removal, now):
        click.echo(line)


@group.command("rewrap")
@command
def rewrap() -> None:
    """Encrypt all private keys with the current secret; then no fallback is needed for them."""
    count = keys.rewrap(_ring().secret_key, operator())
    click.echo(f"Keys encrypted anew: {count}")


def _ring() -> KeyRing:
    ring: KeyRing = current_app.extensions["foxtrot_keys"]
    return ring


def _say_if_shared(lives: list[Life], now: datetime) -> None:
    if keys.Timetable(lives).shares_secret(now):
        click.echo("The shared secret signs for services; the key pairs for this service alone.")


def _consequences(removal: Removal, now: datetime) -> list[str]:
    if removal.gone_elsewhere_at is None:
        return []
    lines = [
        f"Here, every worker refuses its tokens by {_time(now + keys.REREAD)}.",
        f"Services refuse them by {_time(removal.gone_elsewhere_at)}, as far as they reach this"
        " service; one that does not keeps its keys, by default for a day: restart it.",
    ]
    if removal.successor is not None:
        lines.append(f"{removal.successor} signs instead.")
    if removal.unknown_until is not None:
        lines.append(
            "It was published too short a time ago: services may refuse good tokens until"
            f" {_time(removal.unknown_until)}."
        )
    return lines


def _as_dict(life: Life, now: datetime) -> dict[str, str | None]:
    times = {
        "created_at": life.created_at,
        "may_sign_from": life.may_sign_from,
        "signs_from": life.signs_from,
        "signs_until": life.signs_until,
        "may_retire_from": life.may_retire_from,
        "retired_at": life.retired_at,
    }
    shown = {name: rfc3339(time) if time else None for name, time in times.items()}
    return {"kid": life.kid, "algorithm": life.algorithm, "state": life.state(now).value, **shown}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
