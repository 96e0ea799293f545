"""The rooms of the house, and which may import which (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from foxtrot.flask import UndecidedRoutes

ROOT = Path(__file__).resolve().parent.parent

TOOLS = [
    "errors",
    "logs",
    "tallies",
    "metrics",
    "db",
    "ids",
    "client",
    "addresses",
    "passwords",
    "lanes",
    "secret_key",
    "schema",
    "probe",
    "ratelimit",
    "batches",
    "foreign_hashes",
    "application",
    "draining",
]
RULES = [
    "audit",
    "keys",
    "devices",
    "throttles",
    "users",
    "proofs",
    "services",
    "sessions",
    "status_lists",
    "links",
    "rotations",
    "refresh_tokens",
    "tokens",
    "login",
    "accounts",
    "administration",
    "doctor",
    "machines",
    "cleaning",
    "transfer",
    "inspection",
    "verdicts",
    "attack",
    "move",
]
ENTRANCES = ["banner", "server"]
DOOR_FOLDERS = {"cli", "views"}

VERIFIER_LIBRARIES = {"jwt", "cryptography"}
VERIFIER_DOORS = {
    "flask": {"flask", "click", "werkzeug"},
    "testing": {"flask", "pytest", "werkzeug"},
}
LIBRARIES = {
    "ids": set(),
    "client": set(),
    "addresses": {"email_validator"},
    "errors": set(),
    "logs": set(),
    "tallies": set(),
    "metrics": set(),
    "db": {"flask", "flask_sqlalchemy", "psycopg", "sqlalchemy"},
    "schema": {"alembic", "sqlalchemy"},
    "passwords": {"cryptography", "werkzeug", "zxcvbn"},
    "lanes": set(),
    "application": {"flask", "sqlalchemy"},
    "draining": set(),
    "secret_key": {"cryptography"},
    "audit": {"flask", "sqlalchemy"},
    "keys": {"cryptography", "sqlalchemy", "foxtrot"},
    "users": {"flask", "sqlalchemy"},
    "proofs": {"sqlalchemy"},
    "services": {"flask", "sqlalchemy"},
    "sessions": {"flask", "sqlalchemy"},
    "status_lists": {"flask", "foxtrot", "sqlalchemy"},
    "links": {"sqlalchemy"},
    "rotations": set(),
    "refresh_tokens": {"flask", "sqlalchemy"},
    "tokens": {"flask", "foxtrot", "jwt"},
    "login": set(),
    "accounts": {"flask"},
    "administration": {"flask", "sqlalchemy"},
    "doctor": {"flask", "sqlalchemy"},
    "machines": {"foxtrot", "sqlalchemy"},
    "inspection": {"foxtrot"},
    "probe": set(),
    "ratelimit": {"sqlalchemy", "valkey"},
    "devices": {"flask"},
    "throttles": {"flask"},
    "batches": {"sqlalchemy"},
    "foreign_hashes": {"bcrypt", "werkzeug"},
    "transfer": {"sqlalchemy"},
    "cleaning": {"sqlalchemy"},
    "verdicts": {"foxtrot"},
    "attack": {"flask", "foxtrot"},
    "move": {"sqlalchemy"},
}
DOOR_LIBRARIES = {"click", "config", "flask", "foxtrot", "granian", "pydantic", "werkzeug"}
NOT_FOR_DOORS = {
    "app.db",
    "app.passwords",
    "app.ids",
    "app.keys",
    "secrets",
    "hashlib",
}
OPERATORS_KEYS = ROOT / "app" / "cli" / "keys.py"
"""The one door that has to do with signing keys."""

SHARED_BY_DOORS = {"access", "browser", "chart", "contract", "cors", "messages", "openapi", "words"}
REQUEST_NAMES = {"request", "session", "g", "redirect", "render_template", "abort", "jsonify"}

SETTINGS = sorted(ROOT.glob("config*.py"))

STANDARD = set(__import__("sys").stdlib_module_names)


def imports(path: Path) -> set[str]:
    """The full names of all modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def libraries(path: Path) -> set[str]:
    """The packages from outside the house that a file imports."""
    return {name.partition(".")[0] for name in imports(path)} - STANDARD - {"app"}


def rooms(path: Path) -> set[str]:
    """The rooms of `app/` that a file imports."""
    return {
        name.split(".")[1]
        for name in imports(path)
        if name.startswith("app.") and is_room(name.split(".")[1])
    }


def is_room(name: str) -> bool:
    """A file, or a folder that a file grew into."""
    return any((ROOT / "app" / part).exists() for part in (f"{name}.py", f"{name}/__init__.py"))


def files_of(room: str) -> list[Path]:
    """The one file of a room, or all of the folder that it grew into."""
    return python_files(f"app/{room}") or [ROOT / "app" / f"{room}.py"]


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def doors() -> list[Path]:
    entrances = [ROOT / "app" / f"{name}.py" for name in ENTRANCES]
    return [*python_files("app/views"), *python_files("app/cli"), *entrances]


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node


def test_every_room_is_on_the_plan() -> None:
    """A new file in app/ has to be given its place here."""
    found = {path.stem for path in (ROOT / "app").glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in (ROOT / "app").glob("*/__init__.py")} - DOOR_FOLDERS
    assert found == {*TOOLS, *RULES, *ENTRANCES}


@pytest.mark.parametrize("path", python_files("foxtrot"), ids=lambda path: path.name)
def test_the_verifier_stands_alone(path: Path) -> None:
    """It knows nothing of the login service, and Flask and pytest only in a door for each."""
    room = path.relative_to(ROOT / "foxtrot").parts[0].removesuffix(".py")
    allowed = VERIFIER_LIBRARIES | {"foxtrot"} | VERIFIER_DOORS.get(room, set())
    assert libraries(path) <= allowed
    assert not any(name.startswith(("app", "config")) for name in imports(path))


def test_the_catalogue_of_wrong_tokens_needs_no_pytest() -> None:
    """`flask tokens attack` uses it where no test tool is installed."""
    for path in python_files("foxtrot/wrong_tokens"):
        assert not any(name.startswith("foxtrot.testing") for name in imports(path))


def test_the_settings_know_nothing_of_the_app() -> None:
    """They read the environment and ask the verifier's policy what a weak secret is."""
    allowed = {"config_values", "dotenv", "foxtrot", "publicsuffixlist"}
    for path in SETTINGS:
        assert libraries(path) <= allowed
        assert not any(name.startswith("app") for name in imports(path))


@pytest.mark.parametrize("room", TOOLS + RULES)
def test_a_room_uses_its_own_libraries_only(room: str) -> None:
    """Each library has a room where it lives."""
    for path in files_of(room):
        assert libraries(path) <= LIBRARIES[room]


@pytest.mark.parametrize("room", TOOLS)
def test_a_tool_knows_no_rule(room: str) -> None:
    """Tools know nothing of logins."""
    for path in files_of(room):
        known = {"batches", "db", "errors", "foreign_hashes", "ids", "tallies"}
        assert rooms(path) - {room} <= known


@pytest.mark.parametrize("room", RULES)
def test_a_rule_imports_only_what_is_below_it(room: str) -> None:
    """Rules stand in one order; arrows point down."""
    below = {*TOOLS, *RULES[: RULES.index(room)]}
    for path in files_of(room):
        assert rooms(path) - {room} <= below


@pytest.mark.parametrize("room", TOOLS + RULES)
def test_no_rule_knows_of_requests(room: str) -> None:
    """HTTP ends at the doors."""
    for path in files_of(room):
        from_flask = {name.split(".")[1] for name in imports(path) if name.startswith("flask.")}
        assert not from_flask & REQUEST_NAMES
        assert not any(name.startswith("foxtrot.flask") for name in imports(path))


@pytest.mark.parametrize("path", doors(), ids=lambda path: path.name)
def test_a_door_translates_only(path: Path) -> None:
    """No SQL, no JWT, no hashing behind a door."""
    assert libraries(path) <= DOOR_LIBRARIES
    forbidden = NOT_FOR_DOORS - ({"app.keys"} if path == OPERATORS_KEYS else set())
    assert not imports(path) & forbidden


@pytest.mark.parametrize("path", python_files("app/views"), ids=lambda path: path.name)
def test_no_door_opens_another(path: Path) -> None:
    """Only the list of blueprints knows them all."""
    if path.name == "__init__.py":
        return
    prefix = "app.views."
    others = {name.split(".")[2] for name in imports(path) if name.startswith(prefix)}
    assert others - {path.stem} <= SHARED_BY_DOORS


def test_nobody_imports_the_wiring() -> None:
    """`create_app` sees every room; no room sees it."""
    for path in python_files("app"):
        assert "app.create_app" not in imports(path)


@pytest.mark.parametrize(
    "path", [*python_files("app"), *python_files("foxtrot"), *SETTINGS], ids=str
)
def test_nothing_is_imported_inside_a_function(path: Path) -> None:
    """An import inside a function hides an arrow."""
    for function in functions(path):
        for node in ast.walk(function):
            assert not isinstance(node, ast.Import | ast.ImportFrom), function.name


@pytest.mark.parametrize("path", [*python_files("app"), *python_files("foxtrot")], ids=str)
def test_every_file_says_what_it_owns(path: Path) -> None:
    """Each file opens with a paragraph."""
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    "path", [*python_files("app"), *python_files("foxtrot"), *SETTINGS], ids=str
)
def test_functions_and_files_stay_small(path: Path) -> None:
    """No function over 40 lines; a file that grows too long becomes a folder."""
    limit = 400 if path.name == "config.py" else 350  # the settings are one list
    assert len(path.read_text().splitlines()) <= limit
    for function in functions(path):
        assert body_lines(function) <= 40, function.name


def body_lines(function: ast.FunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return ((function.end_lineno or 0) - body[0].lineno + 1) if body else 0


def test_a_view_that_nobody_decided_about_is_refused(app: Flask) -> None:
    """`create_app` has it guarded: the start refuses such a view, and one that comes later."""
    with pytest.raises(UndecidedRoutes, match="GET /late: late"):
        app.add_url_rule("/late", "late", lambda: "in")


def test_every_view_says_who_may_call_it(app: Flask) -> None:
    """Exactly one of @public, @login_required and @bearer.required."""
    undecided = [
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if getattr(app.view_functions[rule.endpoint], "access", None) is None
    ]
    assert not undecided
