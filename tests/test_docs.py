"""What the docs say is true: everything is listed, and the commands they show work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask

import config
from app import passwords, status_lists
from app.keys import life
from foxtrot import fetch, issuer, status
from foxtrot.flask import Bearer
from tests import postgresql
from tests.forks import forking
from tests.processes import clean_environ, free_port, serving
from tests.support import CHEAP_HASH

ROOT = Path(__file__).resolve().parent.parent

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None and not os.environ.get("CI"), reason="no curl on this machine"
)


def read(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", read(name), re.DOTALL)


def commands(group: click.Group, prefix: str = "flask") -> Iterator[str]:
    """All commands below a group, as they are typed."""
    for name, command in group.commands.items():
        full = f"{prefix} {name}"
        if isinstance(command, click.Group):
            yield from commands(command, full)
        else:
            yield full


def test_every_setting_is_in_the_example() -> None:
    """`.env.example` is what `flask config example` writes."""
    assert read(".env.example") == config.example()


def test_the_example_can_be_used_as_it_is(tmp_path: Path) -> None:
    """Every line of it that is no comment would be a setting."""
    lines = [line.lstrip("#") for line in config.example().splitlines() if "=" in line]
    given = dict(line.split("=", 1) for line in lines if line.startswith("FOXTROT_"))
    assert config.load({name: value for name, value in given.items() if value})


def test_every_setting_is_in_the_docs() -> None:
    """The table is what `flask config table` writes."""
    assert config.table() in read("docs/settings.md")


def test_every_command_is_in_the_readme(app: Flask) -> None:
    """Flask's own are not ours to explain, but for those we need."""
    ours = [name for name in commands(app.cli) if not name.startswith("flask db")]
    readme = read("README.md")
    assert [name for name in ours if f"`{name}`" not in readme] == []


def test_every_route_is_in_the_docs(app: Flask) -> None:
    """Pages and JSON alike."""
    page = read("docs/api.md")
    undocumented = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if not re.search(rf"[ `(]{re.escape(rule.rule)}[`) ]", page)
    ]
    assert undocumented == []


def test_every_code_is_in_the_docs() -> None:
    """The codes are part of the contract."""
    source = "".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    codes = set(re.findall(r'\bcode(?:: ClassVar\[str\])? = "(\w+)"', source))
    page = read("docs/api.md")
    assert codes
    assert {code for code in codes if f"`{code}`" not in page} == set()


def test_every_reason_is_in_the_docs() -> None:
    """A developer who meets one finds it."""
    from_code = re.findall(r'^    "(\w+)",$', read("foxtrot/errors.py"), re.MULTILINE)
    page = read("docs/verify.md")
    assert len(from_code) == 13
    assert [reason for reason in from_code if f"`{reason}`" not in page] == []


def test_every_room_is_on_the_plan() -> None:
    """docs/architecture.md lists every file of the house."""
    plan = read("docs/architecture.md")
    files = [*(ROOT / "app").rglob("*.py"), *(ROOT / "foxtrot").rglob("*.py")]
    missing = [path.name for path in files if path.stem != "__init__" and path.name not in plan]
    assert sorted(set(missing) - {"errors.py"}) == []


def test_links_between_pages_lead_somewhere() -> None:
    """Relative links only; the others are not ours."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_examples_of_the_docs_run() -> None:
    """And guard what they say they guard."""
    for page in ("README.md", "docs/verify.md", "docs/verify-anywhere.md"):
        for source in blocks(page, "python"):
            names: dict[str, object] = {"__name__": "__main__"}
            exec(compile(source, page, "exec"), names)
            if isinstance(names.get("app"), Flask):
                assert names["app"].test_client().get("/notes").status_code == 401  # type: ignore[attr-defined]  # a Flask app, asked above


def test_a_service_that_moves_to_key_pairs_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/keys.md has it: both sources beside each other."""
    monkeypatch.setenv("JWT_SECRET", "pX7oHn4QyV0sJc8LzR2gKf5BtW9mDe1U")
    (source,) = blocks("docs/keys.md", "python")
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(source), "docs/keys.md", "exec"), names)
    assert isinstance(names["bearer"], Bearer)


def test_the_times_of_the_docs_are_those_of_the_rules() -> None:
    """Of docs/keys.md, in seconds and minutes."""
    page = read("docs/keys.md")
    assert f"{life.KNOWN_AFTER.seconds} seconds" in page
    assert f"within {life.ELSEWHERE.seconds // 60} minutes" in page
    assert f"within {life.REREAD.seconds} seconds" in page


def test_the_memory_of_the_docs_is_what_a_hash_may_take() -> None:
    """Of docs/operate.md: the default, and the most that any hash in the database may ask for."""
    page, hashing = read("docs/operate.md"), config.load({})["FOXTROT_PASSWORD_HASH"]
    n, r, _p = map(int, hashing.removeprefix("scrypt:").split(":"))
    default, most = 128 * n * r >> 20, passwords.MAX_MEMORY_BYTES >> 20
    assert f"{default} MiB by default, and {most} MiB for whatever" in page
    assert f"{4 * default} MiB, and {4 * most} MiB at worst" in " ".join(page.split())


def test_the_times_of_the_docs_are_those_of_the_verifier() -> None:
    """Of docs/verify.md, and the sizes."""
    page = " ".join(read("docs/verify.md").split())
    words: dict[float, str] = {
        9: "nine seconds",
        11: "eleven seconds",
        1: "a second",
        86_400: "a day",
    }
    ttl = status_lists.TTL.total_seconds()
    for said in (
        f"in {fetch.FETCH_SECONDS:g} seconds and {fetch.MAX_ANSWER_BYTES:,} bytes at most",
        f"renews them every {issuer.REFRESH_SECONDS / 60:g} minutes",
        f"keeps them for {words[issuer.MAX_STALE_SECONDS]} if",
        f"an unknown key waits {words[issuer.WAIT_SECONDS]} at most",
        f"one fetch in {issuer.COOLDOWN_SECONDS:g} seconds",
        f"waits {issuer.FIRST_WAIT_SECONDS:g} seconds for one",
        f"within {issuer.RETRY_SECONDS:g} seconds of one that failed",
        f"Within {words[ttl + status.GRACE_SECONDS]}, without",
        f"lately, every {words[ttl * status.POLL_PART]}",
        f"makes requests wait: {words[status.WAIT_SECONDS]} at most",
        f"the next begins {status.RETRY_SECONDS:g} seconds later",
        f"More than {status.MAX_LISTS} lists",
    ):
        assert said in page, said


def test_the_example_page_is_the_one_of_the_docs() -> None:
    """Character by character."""
    assert blocks("docs/browser.md", "html") == [read("examples/page/index.html")]
    assert blocks("docs/browser.md", "js") == [read("examples/page/app.js")]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_the_docs_let_a_front_end_in(method: str) -> None:
    """Its page may send JSON with a token, and see why it was refused; no other page may."""
    (source,) = blocks("docs/browser.md", "python")
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "docs/browser.md", "exec"), names)
    bearer = Bearer(issuer="https://login.example.com", audience="notes")
    names["app"].route("/notes", methods=["POST", "DELETE"])(bearer.required("notes:write")(dict))
    client = names["app"].test_client()
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": method}
    allowed = client.options("/notes", headers=headers)
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == headers["Origin"]
    assert method in allowed.access_control_allow_methods
    assert set(allowed.access_control_allow_headers) == {"Authorization", "Content-Type"}
    refused = client.open("/notes", method=method, headers=headers)
    assert refused.status_code == 401
    assert "WWW-Authenticate" in refused.access_control_expose_headers
    stranger = client.options("/notes", headers={"Origin": "https://evil.example"})
    assert not any(name.startswith("Access-Control") for name, _ in stranger.headers)


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Both services, and the ports that stand for those of the docs."""
    login, notes = free_port(), free_port()
    with ExitStack() as stack:
        settings = {"FOXTROT_DATA_DIR": str(tmp_path), "FOXTROT_PASSWORD_HASH": CHEAP_HASH}
        stack.enter_context(serving(port=login, settings=settings))
        settings = {
            "NOTES_ISSUER": f"http://localhost:{login}",
            "NOTES_DATABASE": str(tmp_path / "notes.sqlite3"),
        }
        stack.enter_context(serving("--app", "examples.notes", port=notes, settings=settings))
        yield {"localhost:5000": f"localhost:{login}", "localhost:5001": f"localhost:{notes}"}


@needs_curl
def test_the_calls_that_the_docs_show_work(ports: dict[str, str]) -> None:
    """As they stand there, one after the other, in a shell; those of the README first."""
    pages = ["docs/sessions.md", "docs/api.md"]
    shown = [block for page in ["README.md", *pages] for block in blocks(page, "bash")]
    script = "\n".join(block for block in shown if "curl" in block)
    for address, real in ports.items():
        script = script.replace(address, real)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("curl -s", "curl -sSf")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"email":"ann@example.com"' in done.stdout
    assert "Buy milk" in done.stdout
    assert done.stdout.count('"refresh_token"') == 1
    assert '"current":true' in done.stdout


def in_a_shell(script: str, folder: Path, data_dir: Path, programs: str = "") -> str:
    """What a script says in which `flask` is the command of the checkout.

    :param programs: a folder of others that it calls.
    """
    (folder / "bin").mkdir()
    with forking(folder / "bin") as command:
        path = f"{command.parent}:{Path(sys.executable).parent}:{programs}:{os.environ['PATH']}"
        settings = {"FOXTROT_DATA_DIR": str(data_dir), "PATH": path}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=clean_environ({**settings, "FOXTROT_PASSWORD_HASH": CHEAP_HASH}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_curl
def test_what_the_docs_show_of_services_works(ports: dict[str, str], tmp_path: Path) -> None:
    """Commands and calls, one after the other: a machine reads notes, and its token is ended."""
    script = "\n".join(blocks("docs/services.md", "bash")).replace("curl -s", "curl -sSf")
    for address, real in ports.items():
        script = script.replace(address, real)
    ask = next(line for line in script.splitlines() if "/oauth/introspect" in line)
    (tmp_path / "shell").mkdir()
    said = in_a_shell(f"{script}\n{ask}", tmp_path / "shell", tmp_path)
    assert '"notes":[]' in said
    assert said.count('"active":true') == said.count('"active":false') == 1


def test_a_command_that_fails_is_seen(tmp_path: Path) -> None:
    """Or the tests of what the docs show would prove nothing."""
    script = "flask users list\nflask users show nobody@example.com\nflask users list"
    with pytest.raises(AssertionError, match="There is no user 'nobody@"):
        in_a_shell(script, tmp_path, tmp_path / "instance")


def test_the_operators_commands_work(tmp_path: Path) -> None:
    """All the commands of docs/operate.md and keys.md that need no token, as they stand there."""
    shown = [*blocks("docs/operate.md", "bash"), *blocks("docs/keys.md", "bash")]
    script = "\n".join(block for block in shown if "TOKEN" not in block)
    in_a_shell(script, tmp_path, tmp_path / "instance")
    assert (tmp_path / "backup" / "foxtrot.sqlite3").stat().st_size > 0


def test_a_move_a_backup_and_a_restore_of_postgresql_work(
    cluster: postgresql.Cluster, empty_postgresql_url: str, tmp_path: Path
) -> None:
    """The commands of docs/machines.md, as they stand there, after a user was made on SQLite."""
    make = "flask users create ann@example.com --password-stdin <<< 'a passphrase of several words'"
    delete = "flask users delete ann@example.com --yes"
    *move, back_up, restore = blocks("docs/machines.md", "bash")[1:]
    script = "\n".join([make, *move, back_up, delete, restore, "flask users show ann@example.com"])
    script = script.replace(
        "postgresql://foxtrot:password@db.example.com/foxtrot", empty_postgresql_url
    )
    said = in_a_shell(script, tmp_path, tmp_path / "instance", str(cluster.programs))
    assert "Moved and counted" in said
    assert "  ann@example.com  enabled" in said.partition("is deleted")[2]
