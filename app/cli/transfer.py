"""`flask users import` and `flask users export`: users from a file and into one.

JSON lines or CSV, read and written a row at a time.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

import click
from flask.cli import with_appcontext

from app import transfer
from app.cli.terminal import command
from app.client import operator
from app.transfer import BATCH, COLUMNS, NOTES, Failure, Import, Outcome

MAX_LINE: Final = 64 * 1024
SHOWN: Final = 5
"""Failures that are shown as they come; the file has all of them."""

SAY_EVERY: Final = 5.0
"""Seconds between two lines about the progress, where there is no terminal."""

Rows = Iterator[tuple[int, Mapping[str, Any]]]

format_option = click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv"]), help="Unless the file's name says it."
)


@click.command("import")
@with_appcontext
@click.argument("file", metavar="FILE")
@format_option
@click.option("--dry-run", is_flag=True, help="Say what would happen, and write nothing.")
@click.option("--failed", help="File for the rows that fail; FILE.failed.jsonl unless given.")
@click.option(
    "--reset-links", help="File for a link, good for 7 days, for each user without a password."
)
@command
def import_users(
    file: str, form: str | None, dry_run: bool, failed: str | None, reset_links: str | None
) -> None:
    """Import users from FILE, or from standard input (-): JSON lines, or CSV with a header."""
    form = _form(file, form)
    with ExitStack() as opened:
        source = _open(file, opened)
        rows = _from_csv(source) if form == "csv" else _from_json_lines(source)
        failures = _Later(failed or f"{'users' if file == '-' else file}.failed.jsonl", opened)
        links = _Later(reset_links, opened) if reset_links else None
        users = Import(operator(), datetime.now(UTC), dry_run=dry_run, with_links=links is not None)
        opened.callback(users.end)
        total = _run(users, rows, failures, links, _progress(source, opened))
    would = "would be " if dry_run else ""
    click.echo(f"{total.imported:,} {would}imported, {total.existing:,} there already", nl=False)
    click.echo(f", {failures.count:,} failed.")
    if failures.count:
        raise click.ClickException(f"The rows that failed are in {failures.path}, each with why.")


def _run(
    users: Import,
    rows: Rows,
    failures: _Later,
    links: _Later | None,
    say: Callable[[Outcome], None],
) -> Outcome:
    """Import in batches; gives the sums."""
    total = Outcome()
    while batch := list(islice(rows, BATCH)):
        outcome = users.add(batch)
        for failure in sorted(outcome.failed):
            _tell(failure, failures)
        for email, url in outcome.reset_links:
            if links is not None:
                links.write({"email": email, "url": url})
        total.imported += outcome.imported
        total.existing += outcome.existing
        say(total)
    return total


def _tell(failure: Failure, failures: _Later) -> None:
    failures.write({"line": failure.number, "reason": failure.reason, **failure.row})
    if failures.count <= SHOWN:
        click.echo(f"line {failure.number}: {failure.reason}", err=True)
    if failures.count == SHOWN + 1:
        click.echo("(more: see the file of failed rows)", err=True)


@click.command("export")
@with_appcontext
@click.option("--output", help="Write to this file, which only you may read.")
@format_option
@click.option("--with-hashes", is_flag=True, help="With password hashes: guard the file well.")
@command
def export_users(output: str | None, form: str | None, with_hashes: bool) -> None:
    """Write all users, as JSON lines or CSV, so that `flask users import` reads them."""
    form = _form(output or "-", form or (None if output else "jsonl"))
    columns = [name for name in COLUMNS if with_hashes or name != "password_hash"]
    with ExitStack() as opened:
        target: IO[str] = _private(output, opened) if output else sys.stdout
        write = _csv_writer(target, columns) if form == "csv" else _json_writer(target)
        for row in transfer.everybody(operator(), datetime.now(UTC), with_hashes=with_hashes):
            write(row)


def init_group(group: click.Group) -> None:
    """Add both commands to `flask users`."""
    group.add_command(import_users)
    group.add_command(export_users)


# Files


def _form(file: str, form: str | None) -> str:
    """What is in a file, by the option or by its name."""
    by_name = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}.get(Path(file).suffix.lower())
    found = form or by_name
    if found is None:
        raise click.UsageError("Say what is in the file: --format jsonl or --format csv.")
    return found


def _open(file: str, opened: ExitStack) -> BinaryIO:
    if file == "-":
        return sys.stdin.buffer
    try:
        return opened.enter_context(Path(file).open("rb"))
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror}.") from None


def _private(path: str, opened: ExitStack) -> IO[str]:
    """Open a file for writing that nobody else may read, also if it was there before."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        file = opened.enter_context(os.fdopen(number, "w", encoding="utf-8", newline=""))
        Path(path).chmod(0o600)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}.") from None
    return file


class _Later:
    """A private file of JSON lines, made when there is something to write."""

    def __init__(self, path: str, opened: ExitStack) -> None:
        self.path = path
        self.count = 0
        self._opened = opened
        self._file: IO[str] | None = None

    def write(self, row: Mapping[str, Any]) -> None:
        if self._file is None:
            self._file = _private(self.path, self._opened)
        self._file.write(json.dumps(row) + "\n")
        self.count += 1


# Reading and writing rows


def _from_json_lines(source: BinaryIO) -> Rows:
    """The objects of a file; what is none becomes a row that fails, with its text in it."""
    number = 0
    while line := source.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = source.readline(MAX_LINE)
            yield number, {transfer.TOO_LONG: ""}
        elif line.strip():
            yield number, _object(line)


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    return {transfer.NO_OBJECT: line.decode("utf-8", "replace").strip()}


def _from_csv(source: BinaryIO) -> Rows:
    """The rows of a table with a header, whose columns are refused by name if unknown."""
    text = io.TextIOWrapper(source, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.DictReader(text, restkey=transfer.MORE_FIELDS, strict=True)
    try:
        _refuse_header(reader.fieldnames or [])
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise click.ClickException(
            f"This is no CSV near line {reader.line_num}: {error}. Is there a quote that"
            " nothing closes? The lines before it may be imported already; mend the file, and"
            " run this again."
        ) from None
    finally:
        text.detach()


def _refuse_header(names: Sequence[str]) -> None:
    unknown = [ascii(name)[:40] for name in names if name not in {*COLUMNS, *NOTES}]
    if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        raise click.ClickException("Separate the columns by commas, not semicolons or tabs.")
    if unknown or "email" not in names or len(set(names)) != len(names):
        found = f"Unknown columns: {', '.join(unknown)}. " if unknown else ""
        raise click.ClickException(
            f"{found}The first line has to name the columns, each once, with email among them."
            f" Known are: {', '.join(COLUMNS)}."
        )


def _csv_writer(target: IO[str], columns: Sequence[str]) -> Callable[[Mapping[str, Any]], object]:
    writer = csv.DictWriter(target, columns, lineterminator="\n")
    writer.writeheader()

    def write(row: Mapping[str, Any]) -> None:
        flags = {name: str(row[name]).lower() for name in ("email_verified", "disabled")}
        writer.writerow({**row, **flags, "scopes": " ".join(row["scopes"])})

    return write


def _json_writer(target: IO[str]) -> Callable[[Mapping[str, Any]], object]:
    return lambda row: target.write(json.dumps(row) + "\n")


# Progress


def _progress(source: BinaryIO, opened: ExitStack) -> Callable[[Outcome], None]:
    """A bar on a terminal, where the size is known; else a line now and then."""
    if sys.stderr.isatty() and source.seekable():
        size = os.fstat(source.fileno()).st_size
        bar = opened.enter_context(click.progressbar(length=size, file=sys.stderr, label="Import"))
        return lambda _: bar.update(source.tell() - bar.pos)
    said = time.monotonic()

    def say(total: Outcome) -> None:
        nonlocal said
        if time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            click.echo(f"{total.imported:,} imported, {total.existing:,} there already", err=True)

    return say
