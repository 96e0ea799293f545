"""The login service: `create_app` wires the rooms together, and nothing else does.

`flask run` finds `create_app` here by itself. It reads the settings, attaches
the database, the doors and the commands, and, when the app is about to serve,
brings database, secret and signing key into being.
"""

from __future__ import annotations

import importlib
import logging
import re
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
from flask import Flask
from flask.cli import NoAppException
from flask_migrate import Migrate

import config
from app import (
    banner,
    cleaning,
    cli,
    db,
    keys,
    schema,
    secret_key,
    services,
    status_lists,
    tokens,
    views,
)
from app.errors import StartRefused
from app.keys import Policy
from app.secret_key import SecretKey
from app.views import access

MAX_BODY_BYTES: Final = 64 * 1024
DEFAULT_PORT: Final = 5000

_SECRET_IN_URL: Final = re.compile(r"((?:token|password|secret)(?:=|%3D))[^&\s\"]+", re.IGNORECASE)


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
    if click.get_current_context(silent=True) is None:
        return error
    only_help = all(argument.startswith("-") for argument in sys.argv[1:])
    return (NoAppException if only_help else click.ClickException)(str(error))


def _build(environ: Mapping[str, str]) -> Flask:
    app = Flask("app", template_folder=str(config.ROOT / "templates"), static_folder="static")
    app.config.update(config.load(environ))
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["ISSUER"] = app.config["FOXTROT_PUBLIC_URL"] or _local_issuer(app)
    _refuse_debug_in_public(app)
    _set_up_logging()
    _attach_database(app)
    app.extensions["foxtrot_claims_hook"] = _load_hook(app.config["FOXTROT_CLAIMS_HOOK"])
    app.extensions["foxtrot_services"] = services.Directory()
    app.extensions["foxtrot_prepare"] = lambda: prepare(app, serves=False)
    views.init_app(app, database_failures=db.FAILURES)
    cli.init_app(app)
    command = _command()
    if command == "run":
        banner.refuse_port_in_use()
    if command in (None, "run"):
        prepare(app)
        _have_cleaned(app)
    if command == "run":
        _leave_port_for_commands(app)
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
    if schema.is_current():
        ring.start()
        app.extensions["foxtrot_services"].audiences()
    app.extensions["foxtrot_secret_key"] = secret
    app.extensions["foxtrot_keys"] = ring
    app.extensions["foxtrot_status_lists"] = status_lists.Publisher(
        tokens.status_list_key, tokens.sign_status_list
    )
    access.init_app(app, tokens.own_key_sources(ring, app.config["FOXTROT_SHARED_SECRET"]))


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
    db.init_app(app)
    Migrate(app, db.db, directory=str(schema.DIRECTORY))


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


def _refuse_debug_in_public(app: Flask) -> None:
    if app.debug and not config.is_loopback_mode(app.config):
        raise config.ConfigError(
            "Debug mode lets anybody run code here, and FOXTROT_PUBLIC_URL is public."
            " Remove FLASK_DEBUG and --debug."
        )


def _set_up_logging() -> None:
    """Log to standard error, unless somebody set up logging already; audit events as they are."""
    logging.getLogger("werkzeug").addFilter(_hide_url_secrets)
    audit_logger = logging.getLogger("foxtrot.audit")
    audit_logger.setLevel(logging.INFO)
    if logging.getLogger("foxtrot").handlers or logging.getLogger().handlers:
        return
    _log_to_stderr(logging.getLogger("foxtrot"), "%(levelname)s %(name)s: %(message)s")
    _log_to_stderr(audit_logger, "%(message)s")
    audit_logger.propagate = False


def _log_to_stderr(logger: logging.Logger, form: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(form))
    logger.addHandler(handler)


def _hide_url_secrets(record: logging.LogRecord) -> bool:
    """Keep secrets that stand in a URL out of the development server's access log.

    Those of one-time links belong there; passwords get there by a client's mistake.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(
            _SECRET_IN_URL.sub(r"\1…", part) if isinstance(part, str) else part
            for part in record.args
        )
    return True


def _command() -> str | None:
    """The name of the flask command that builds this app, None under another server."""
    context = click.get_current_context(silent=True)
    return context.info_name if context is not None else None


def _local_issuer(app: Flask) -> str:
    """The issuer while no public URL is set: this machine, at the port of `flask run`.

    Commands that run beside the server find its port in a file.
    """
    note = _port_file(app)
    context = click.get_current_context(silent=True)
    port = context.params.get("port") if context is not None else None
    if port == 0:
        raise config.ConfigError("Choose a port: with --port 0 nobody knows the issuer's URL.")
    if port is None and context is not None and note.exists():
        port = note.read_text("ascii", "replace").strip()
    return f"http://localhost:{port or DEFAULT_PORT}"


def _leave_port_for_commands(app: Flask) -> None:
    if app.config["FOXTROT_PUBLIC_URL"] is not None:
        return  # it says all; the file may be that of a server that runs beside this one
    note = _port_file(app)
    try:
        note.write_text(str(click.get_current_context().params["port"]))
    except OSError as error:
        raise StartRefused(f"The data folder {note.parent} cannot be written: {error}.") from None


def _port_file(app: Flask) -> Path:
    return Path(app.config["FOXTROT_DATA_DIR"]) / "port"
