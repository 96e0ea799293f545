"""Whoever writes the guard wrongly learns it at import, with the file and the line."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView

from foxtrot.flask import Bearer, Misuse, public
from tests.processes import ROOT, clean_environ
from tests.verifier.minting import AUDIENCE, ISSUER
from tests.verifier.service import HEAD

MODULES = {
    "without parentheses": ("needs its parentheses", "@app.get('/')\n@bearer.required"),
    "optional without parentheses": ("needs its parentheses", "@app.get('/')\n@bearer.optional"),
    "above the route": ("above the route", "@bearer.required()\n@app.get('/')"),
    "above the route of a blueprint": ("above the route", "@bearer.required()\n@notes.get('/')"),
    "optional above the route": ("@bearer.optional stands", "@bearer.optional()\n@notes.get('/')"),
    "unknown argument": ("takes no 'scope'", "@app.get('/')\n@bearer.required(scope='a')"),
    "empty scope": ("not empty", "@app.get('/')\n@bearer.required('')"),
    "no scope": ("not empty", "@app.get('/')\n@bearer.required(None)"),
    "two scopes in one": ("one scope per argument", "@app.get('/')\n@bearer.required('a b')"),
    "scopes in a list": ("a text", "@app.get('/')\n@bearer.required(['a', 'b'])"),
    "any of none": ("@bearer.required: any_of", "@app.get('/')\n@bearer.required(any_of=())"),
    "any of one text": ("any_of is several", "@app.get('/')\n@bearer.required(any_of='admin')"),
    "any of bytes": ("any_of is several", "@app.get('/')\n@bearer.required(any_of=b'admin')"),
    "any of a bad one": ("one scope per", "@app.get('/')\n@bearer.required(any_of=['a b'])"),
    "any of a set": ("any_of is several", "@app.get('/')\n@bearer.required(any_of={'a', 'b'})"),
    "no age": ("max_age is", "@app.get('/')\n@bearer.required(max_age=None)"),
    "age of nought": ("max_age is", "@app.get('/')\n@bearer.required(max_age=0)"),
    "age as text": ("max_age is", "@app.get('/')\n@bearer.required(max_age='300')"),
    "age as truth": ("max_age is", "@app.get('/')\n@bearer.required(max_age=True)"),
    "half a second": ("max_age is", "@app.get('/')\n@bearer.required(max_age=0.5)"),
    "odd on_stale": ("on_stale is", "@app.get('/')\n@bearer.required(on_stale='maybe')"),
    "public with parentheses": ("no parentheses", "@app.get('/')\n@public()"),
    "public and guarded": ("@public", "@app.get('/')\n@public\n@bearer.required()"),
    "guarded and public": ("@public", "@app.get('/')\n@bearer.required()\n@public"),
}  # fmt: skip


def load(folder: Path, source: str) -> tuple[Path, BaseException | None]:
    """Import a module of a service, and give what that raised."""
    path = folder / "service.py"
    path.write_text(source)
    try:
        exec(compile(source, str(path), "exec"), {"__name__": "service"})
    except Exception as error:
        return path, error
    return path, None


@pytest.mark.parametrize("case", MODULES)
def test_misuse_is_an_error_at_import_with_file_and_line(case: str, tmp_path: Path) -> None:
    """The line is that of the decorator, which stands below the head of the module."""
    said, decorators = MODULES[case]
    path, error = load(tmp_path, f"{HEAD}{decorators}\ndef view():\n    return 'in'\n")
    first = HEAD.count("\n") + 1
    lines = "|".join(str(line) for line in range(first, first + 3))
    assert isinstance(error, Misuse)
    assert re.match(rf"{re.escape(str(path))}:({lines}): ", str(error))
    assert said in str(error)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"audiance": AUDIENCE}, "takes no 'audiance'; it takes issuer, audience, "),
        ({"audience": [AUDIENCE, "billing"]}, "one name, not a list"),
    ],
)
def test_settings_that_are_none_are_named(settings: Any, said: str) -> None:
    """With the file and line, and with what there is."""
    with pytest.raises(Misuse, match=said) as caught:
        Bearer(ISSUER, **settings)
    assert str(caught.value).startswith(f"{__file__}:")
    with pytest.raises(Misuse, match=said):
        Bearer().init_app(Flask("service"), ISSUER, **settings)


@pytest.mark.parametrize(
    "decorators",
    [
        "@app.get('/')\n@bearer.required()",
        "@notes.get('/')\n@bearer.required('a', any_of=['b', 'c'], max_age=1, on_stale='deny')",
        "@app.get('/')\n@bearer.optional('a')",
        "@app.get('/one')\n@app.get('/two')\n@bearer.required()",
        "@app.get('/')\n@bearer.required('a')\n@bearer.required('b')",
        "@public\n@app.get('/')",
        "@app.get('/')\n@public",
    ],
)
def test_what_is_meant_is_no_error(decorators: str, tmp_path: Path) -> None:
    """`@public` may stand above the route too: it marks the function that is there."""
    assert load(tmp_path, f"{HEAD}{decorators}\ndef view():\n    return 'in'\n")[1] is None


def test_python_shows_the_error_when_a_service_starts(tmp_path: Path) -> None:
    """As a developer sees it."""
    source = f"{HEAD}@bearer.required()\n@app.get('/')\ndef view():\n    return 'in'\n"
    path = tmp_path / "service.py"
    path.write_text(source)
    done = subprocess.run(
        [sys.executable, str(path)],
        env=clean_environ({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"{path}:9: @bearer.required stands above the route" in done.stderr.splitlines()[-1]


def test_above_a_route_inside_a_factory_is_an_error(bearer: Bearer) -> None:
    """The app may be a local variable of the function that builds it."""

    def create_app() -> Flask:
        app = Flask("service")

        @bearer.required()
        @app.get("/")
        def view() -> str:
            return "in"

        return app

    with pytest.raises(Misuse, match="above the route"):
        create_app()


class Web:
    """Keeps the app where a decorated module does not name it."""

    app = Flask("hidden")


def test_above_a_route_of_a_hidden_app_is_found_by_init_app(bearer: Bearer) -> None:
    """At the latest; `guard` finds it as well."""
    web = Web()
    web.app = Flask("hidden")
    bearer.required("admin")(web.app.get("/")(lambda: "in"))
    with pytest.raises(Misuse, match=rf"{re.escape(__file__)}:\d+.* above the route"):
        bearer.init_app(web.app)


# What is no function


@pytest.mark.parametrize("value", [None, "view", 5], ids=repr)
def test_what_is_no_view_is_an_error(value: Any, bearer: Bearer) -> None:
    """Nothing that cannot be called can be guarded, or opened."""
    with pytest.raises(Misuse, match="stands above a function"):
        bearer.required()(value)
    with pytest.raises(Misuse, match="stands above a function"):
        public(value)


def test_a_class_of_views_is_told_how(bearer: Bearer) -> None:
    """It has a place for decorators."""

    class Board(MethodView): ...

    decorators: list[Callable[..., Any]] = [bearer.required(), public]
    for decorator in decorators:
        with pytest.raises(Misuse, match="decorators = "):
            decorator(Board)


def test_a_class_that_lists_the_bare_decorator_is_an_error(bearer: Bearer) -> None:
    """`decorators = [bearer.required]`, where its views are made."""

    class Board(MethodView):
        decorators = [bearer.required]  # noqa: RUF012

    with pytest.raises(Misuse, match=rf"{re.escape(__file__)}:\d+: .*parentheses"):
        Board.as_view("board")


def test_a_method_of_an_object_cannot_be_public() -> None:
    """It cannot be marked; nothing is passed over in silence."""
    with pytest.raises(Misuse, match="not a method"):
        public(Bearer(ISSUER, AUDIENCE).init_app)


def test_a_type_of_pythons_own_cannot_be_public() -> None:
    """It cannot be marked either."""
    with pytest.raises(Misuse, match="not a method"):
        public(str)


def test_a_view_of_the_services_own_guard_cannot_be_public() -> None:
    """Two decisions about one view are one too many."""

    def view() -> None: ...

    view.access = "login"  # type: ignore[attr-defined]
    with pytest.raises(Misuse, match="at the same time"):
        public(view)


def test_an_error_is_a_type_error_too(bearer: Bearer) -> None:
    """As Python's own about arguments."""
    assert issubclass(Misuse, TypeError)
    with pytest.raises(TypeError):
        bearer.protect(Blueprint("notes", __name__), "")
