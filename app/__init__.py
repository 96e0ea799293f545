"""The login service: `create_app` wires the rooms together, and nothing else does.

`flask run` finds `create_app` here by itself. It reads the settings, attaches
the database, the doors and the commands, and, when the app is about to serve,
brings database, secret and signing key into being.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import platform
import sys
import tomllib
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TextIO

import click
from flask import Flask
from flask.cli import NoAppException, ScriptInfo

import config
from app import (
    audit,
    banner,
    cleaning,
    cli,
    db,
    keys,
    lanes,
    logs,
    metrics,
    ratelimit,
    schema,
    secret_key,
    services,
    status_lists,
    tokens,
    views,
)
from app.application import Application
from app.errors import StartRefused
from app.keys import Policy
from app.lanes import Lanes
from app.secret_key import SecretKey
from app.views import access
from foxtrot.errors import REASONS

MAX_BODY_BYTES: Final = 64 * 1024
DEFAULT_PORT: Final = 5000


def create_app(overrides: Mapping[str, str] | None = None) -> Flask:
    """Build the app.

    :param overrides: settings as text, in place of the process environment and
        `.env`; for tests, which must not depend on either.
    :raises ConfigError: a setting is wrong.
    :raises StartRefused: the database or the secret is not as it should be.

    Both become one line and exit code 1 where a command started this.
    """
    try:
        return _build(config.environment() if overrides is None else overrides)
    except (config.ConfigError, StartRefused) as error:
        raise _for_terminal(error) from None


def _for_terminal(error: Exception) -> Exception:
    """A refusal as a command says it: one line. Help is given all the same."""
    if _context() is None:
        return error
    only_help = all(argument.startswith("-") for argument in sys.argv[1:])
    return (NoAppException if only_help else click.ClickException)(str(error))


def _build(environ: Mapping[str, str]) -> Flask:
    app = Application("app", template_folder=str(config.ROOT / "templates"), static_folder="static")
    app.config.update(config.load(environ))
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["ISSUER"] = app.config["FOXTROT_PUBLIC_URL"] or _local_issuer(app)
    _refuse_debug_in_public(app)
    logs.set_up()
    _attach_database(app)
    app.extensions["foxtrot_metrics"] = _meter(app)
    app.extensions["foxtrot_claims_hook"] = _load_hook(app.config["FOXTROT_CLAIMS_HOOK"])
    app.extensions["foxtrot_services"] = services.Directory()
    app.extensions["foxtrot_limits"] = ratelimit.store_for(app.config["FOXTROT_REDIS_URL"])
    app.extensions["foxtrot_own_limits"] = ratelimit.MemoryStore()
    app.extensions["foxtrot_lanes"] = _lanes(app)
    app.extensions["foxtrot_sign_ins"] = {}
    app.extensions["foxtrot_schema"] = schema.Watch()
    app.extensions["foxtrot_load"] = create_app
    app.extensions["foxtrot_serve_at"] = partial(_leave_port, app)
    app.extensions["foxtrot_prepare"] = lambda: prepare(app, serves=False)
    command = _command()
    _decide_about_access_log(app, command)
    views.init_app(app, database_failures=db.FAILURES)
    cli.init_app(app, database_failures=db.FAILURES)
    if command == "run":
        banner.refuse_port_in_use()
    if command in (None, "run"):
        prepare(app)
        _have_cleaned(app)
    if command == "run":
        _leave_port(app, click.get_current_context().params["port"])
        banner.show(app)
    return app


def prepare(app: Flask, *, serves: bool = True) -> None:
    """Bring schema, secret and signing key into being; once, before serving or commanding.

    :param serves: whether this process is to sign; a command leaves the keys as they are.
    """
    if "foxtrot_keys" in app.extensions:
        return
    with app.app_context():
        try:
            _prepare_database(app, serves)
        except db.FAILURES as error:
            where = db.file() or config.masked(app.config["FOXTROT_DATABASE_URL"])
            reason = " ".join(str(getattr(error, "orig", error)).split())
            raise StartRefused(f"The database {where} cannot be used: {reason}") from None
        finally:
            db.disconnect()  # workers that are forked later must not share a connection


def _prepare_database(app: Flask, serves: bool) -> None:
    uses_file = app.config["FOXTROT_SECRET_KEY"] is None
    has_secret = uses_file and secret_key.exists(Path(app.config["FOXTROT_DATA_DIR"]))
    schema.migrate_if_sqlite(must_exist=has_secret)
    secret = _secret_key(app)
    ring = keys.KeyRing(_key_policy(app), secret, app.app_context if serves else None)
    if app.extensions["foxtrot_schema"].can_serve():
        ring.start()
        app.extensions["foxtrot_services"].audiences()
    app.extensions["foxtrot_secret_key"] = secret
    app.extensions["foxtrot_keys"] = ring
    app.extensions["foxtrot_status_lists"] = status_lists.Publisher(
        tokens.status_list_key, tokens.sign_status_list
    )
    sources = tokens.own_key_sources(ring, app.config["FOXTROT_SHARED_SECRET"])
    access.init_app(app, sources, database_failures=db.FAILURES)


def _lanes(app: Flask) -> Lanes:
    number = app.config["FOXTROT_HASH_LANES"] or lanes.cores()
    meter: metrics.Meter = app.extensions["foxtrot_metrics"]

    def tell(running: int, waiting: int) -> None:
        meter.set(metrics.HASHES_RUNNING, running)
        meter.set(metrics.HASHES_WAITING, waiting)

    return Lanes(Path(app.config["FOXTROT_DATA_DIR"]) / "lanes", number, tell=tell)


def _have_cleaned(app: Flask) -> None:
    """Look, with a request now and then, whether old rows are to be deleted."""
    if every := app.config["FOXTROT_CLEANING_EVERY"]:
        cleaner = cleaning.Cleaner(app.app_context, timedelta(seconds=every))
        app.before_request(cleaner.look)


def _key_policy(app: Flask) -> Policy:
    days = app.config["FOXTROT_KEY_ROTATION_DAYS"]
    return Policy(
        app.config["FOXTROT_ALGORITHM"],
        timedelta(seconds=app.config["FOXTROT_ACCESS_TOKEN_LIFETIME"]),
        timedelta(days=days) if days else None,
    )


def _secret_key(app: Flask) -> SecretKey:
    setting = app.config["FOXTROT_SECRET_KEY"]
    fallbacks = app.config["FOXTROT_SECRET_KEY_FALLBACKS"]
    if setting is not None:
        return SecretKey(setting, "FOXTROT_SECRET_KEY", fallbacks)
    data_dir = Path(app.config["FOXTROT_DATA_DIR"])
    return secret_key.from_file(data_dir, may_create=not keys.any_stored(), fallbacks=fallbacks)


def _attach_database(app: Flask) -> None:
    data_dir = Path(app.config["FOXTROT_DATA_DIR"]).absolute()
    url = app.config["FOXTROT_DATABASE_URL"]
    if url.startswith("sqlite:///"):
        path = data_dir / url.removeprefix("sqlite:///")
        _make_folder(path.parent)
        url = f"sqlite:///{path}"
    _make_folder(data_dir)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = db.engine_options(url)
    db.init_app(app, serves=_command() in (None, "run"))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefused(f"The data folder {folder} cannot be made: {error}.") from None


def _load_hook(name: str | None) -> Callable[..., Any] | None:
    """Import the operator's claims hook."""
    if name is None:
        return None
    module, _, function = name.partition(":")
    try:
        hook = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise config.ConfigError(
            f"FOXTROT_CLAIMS_HOOK: {name} cannot be loaded: {error}."
        ) from None
    if not callable(hook):
        raise config.ConfigError(f"FOXTROT_CLAIMS_HOOK: {name} is not a function.")
    return hook  # type: ignore[no-any-return]  # anything callable


def _meter(app: Flask) -> metrics.Meter:
    """Where this process counts; the others of this machine have the same folder."""
    folder = Path(app.config["FOXTROT_DATA_DIR"]).absolute() / "metrics"
    build = {
        "version": _version(),
        "python": platform.python_version(),
        "database": app.config["SQLALCHEMY_DATABASE_URI"].partition(":")[0].partition("+")[0],
    }
    known = {
        metrics.LOGINS: metrics.OUTCOMES,
        metrics.REFRESHES: metrics.OUTCOMES,
        metrics.EVENTS: list(audit.Event),
        metrics.TOKEN_REFUSALS: REASONS,
    }
    return metrics.Meter(app.config["FOXTROT_METRICS_TOKEN"], folder, build, known)


@cache
def _version() -> str:
    """The version of this checkout."""
    try:
        return str(
            tomllib.loads((config.ROOT / "pyproject.toml").read_text())["project"]["version"]
        )
    except (OSError, ValueError, KeyError):
        return "unknown"


def _decide_about_access_log(app: Flask, command: str | None) -> None:
    """Unless the setting says, a line a request; not beside that of the development server."""
    if app.config["FOXTROT_ACCESS_LOG"] is None:
        app.config["FOXTROT_ACCESS_LOG"] = "off" if command == "run" else "on"
    elif app.config["FOXTROT_ACCESS_LOG"] == "on" and command == "run":
        logs.replace_lines_of_werkzeug()


def _refuse_debug_in_public(app: Flask) -> None:
    if app.debug and not config.is_loopback_mode(app.config):
        raise config.ConfigError(
            "Debug mode lets anybody run code here, and FOXTROT_PUBLIC_URL is public."
            " Remove FLASK_DEBUG and --debug."
        )


def _command() -> str | None:
    """The name of the flask command that builds this app, None under another server."""
    context = _context()
    return context.info_name if context is not None else None


def _context() -> click.Context | None:
    """Of the flask command that builds this app; the commands of other servers are none."""
    context = click.get_current_context(silent=True)
    is_flasks = context is not None and isinstance(context.find_root().obj, ScriptInfo)
    return context if is_flasks else None


def _local_issuer(app: Flask) -> str:
    """The issuer while no public URL is set: this machine, at the port that is served.

    Commands that run beside the server find its port in a file.
    """
    note = _port_file(app)
    context = _context()
    port = context.params.get("port") if context is not None else None
    if port == 0:
        raise config.ConfigError("Choose a port: with --port 0 nobody knows the issuer's URL.")
    if port is None and context is not None and note.exists():
        port = note.read_text("ascii", "replace").strip()
    if context is None:
        port = os.environ.get("FLASK_RUN_PORT")  # a worker of `flask serve`
    return f"http://localhost:{port or DEFAULT_PORT}"


def _leave_port(app: Flask, port: int) -> None:
    """Say at which port this machine is served: to commands by a file, to workers as Flask does."""
    os.environ["FLASK_RUN_PORT"] = str(port)
    if app.config["FOXTROT_PUBLIC_URL"] is not None:
        return  # it says all; the file may be that of a server that runs beside this one
    app.config["ISSUER"] = f"http://localhost:{port}"
    note = _port_file(app)
    try:
        app.extensions["foxtrot_port_note"] = _take_note(note, str(port))
    except OSError as error:
        raise StartRefused(f"The data folder {note.parent} cannot be written: {error}.") from None


def _take_note(note: Path, port: str) -> TextIO:
    """Write the note, and hold it for as long as this process serves; unless another one does."""
    file = note.open("a+", encoding="ascii", errors="replace")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        if (other := file.read().strip()) != port:  # else it is this server, in debug mode
            click.echo(
                f"Another server of this data folder runs at port {other}. Commands, such as"
                " flask setup-link, go on to name that one.",
                err=True,
            )
        return file
    file.truncate(0)
    file.write(port)
    file.flush()
    return file


def _port_file(app: Flask) -> Path:
    return Path(app.config["FOXTROT_DATA_DIR"]) / "port"
