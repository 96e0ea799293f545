"""`flask bearer routes`: who may call what."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView

from foxtrot.flask import Bearer, public
from tests.processes import ROOT, clean_environ, flask
from tests.verifier.service import HEAD


@pytest.fixture
def app(bearer: Bearer) -> Flask:
    app = Flask("service", static_folder=None)
    bearer.init_app(app)
    return app


def routes(app: Flask) -> dict[str, str]:
    """Who may call what, by method and path."""
    result = app.test_cli_runner().invoke(args=["bearer", "routes"])
    rows = [line.split(maxsplit=2) for line in result.output.splitlines()]
    return {f"{methods} {path}": who for methods, path, who in rows}


def view() -> str:
    return "in"


def test_it_says_what_each_route_asks_for(bearer: Bearer, app: Flask) -> None:
    """In words, and what is open as well."""
    app.add_url_rule("/", "index", public(lambda: "open"))
    app.add_url_rule("/me", "me", bearer.required()(view))
    app.add_url_rule("/maybe", "maybe", bearer.optional("a")(view))
    app.add_url_rule("/all", "all", bearer.required("b", "a")(view), methods=["PUT", "GET"])
    app.add_url_rule("/any", "any", bearer.required("c", any_of=["b", "a"], max_age=60)(view))
    app.add_url_rule("/deny", "deny", bearer.required(on_stale="deny")(view))
    assert routes(app) == {
        "GET /": "anybody",
        "GET /me": "a token",
        "GET /maybe": "anybody; if there is a token, a token with a",
        "GET,PUT /all": "a token with a b",
        "GET /any": "a token with c and one of b, a, signed in within 60 s",
        "GET /deny": "a token, deny if stale",
    }


def test_a_path_behind_which_nothing_can_run_is_left_out(app: Flask) -> None:
    """It has no view yet."""
    app.url_map.add(app.url_rule_class("/nothing", endpoint="nothing"))
    app.add_url_rule("/", "index", public(lambda: "open"))
    assert routes(app) == {"GET /": "anybody"}


def test_odd_rules_are_shown_as_they_are(app: Flask) -> None:
    """One for any method, and one for a method that others leave out."""
    app.url_map.add(app.url_rule_class("/any", endpoint="any"))
    app.endpoint("any")(public(lambda: "open"))
    app.add_url_rule("/quiet", "quiet", public(lambda: "open"), methods=["OPTIONS"])
    assert routes(app) == {"* /any": "anybody", "OPTIONS /quiet": "anybody"}


def test_programs_read_it_as_json(bearer: Bearer, app: Flask) -> None:
    """A row for each path and those methods that the same people may call."""
    app.add_url_rule("/me", "me", bearer.required("a")(view))
    result = app.test_cli_runner().invoke(args=["bearer", "routes", "--json"])
    row = {"methods": ["GET"], "path": "/me", "who": ["a token with a"]}
    assert json.loads(result.output) == {"routes": [row]}


def test_it_puts_together_what_decides_about_one_route(bearer: Bearer, app: Flask) -> None:
    """The blueprints around it, and all decorators."""
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    bearer.protect(outer, "a")
    bearer.protect(inner, "b")
    inner.add_url_rule("/", "view", bearer.required("c")(bearer.required("d")(view)))
    inner.add_url_rule("/open", "open", public(lambda: "open"))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    found = routes(app)
    assert sorted(found["GET /"].split(" and ")) == [f"a token with {scope}" for scope in "abcd"]
    assert found["GET /open"] == "anybody"


def test_a_public_view_behind_a_hook_of_the_app_is_not_called_open(
    bearer: Bearer, app: Flask
) -> None:
    """What runs is what counts: a decorated hook knows no exceptions."""
    app.before_request(bearer.required()(lambda: None))
    app.add_url_rule("/", "index", public(lambda: "open"))
    assert routes(app) == {"GET /": "a token"}
    assert app.test_client().get("/").status_code == 401


def test_a_class_has_a_row_for_each_decision(bearer: Bearer, app: Flask) -> None:
    """Methods that the same people may call stand together."""

    class Board(MethodView):
        @public
        def get(self) -> None: ...

        @bearer.required("a")
        def post(self) -> None: ...

        @bearer.required("a")
        def delete(self) -> None: ...

    app.add_url_rule("/board", view_func=Board.as_view("board"))
    assert routes(app) == {"GET /board": "anybody", "DELETE,POST /board": "a token with a"}


def test_the_services_own_words_are_printed_as_they_are(app: Flask) -> None:
    """Of a decorator of its own."""

    def by_cookie() -> str:
        return "in"

    by_cookie.access = "who is signed in"  # type: ignore[attr-defined]
    app.add_url_rule("/", "index", by_cookie)
    assert routes(app) == {"GET /": "who is signed in"}


def test_undecided_routes_stand_out_and_the_exit_code_is_1(app: Flask) -> None:
    """Also in a service that does not call `guard`."""
    app.add_url_rule("/", "index", view)
    result = app.test_cli_runner().invoke(args=["bearer", "routes"])
    assert result.exit_code == 1
    assert result.output == "GET  /  NOBODY DECIDED\n"


def test_the_exit_code_is_0_if_all_is_decided(bearer: Bearer, app: Flask) -> None:
    """So a check of the service can call it."""
    app.add_url_rule("/", "index", bearer.required()(view))
    assert app.test_cli_runner().invoke(args=["bearer", "routes"]).exit_code == 0


def test_guard_brings_the_command_too(bearer: Bearer) -> None:
    """Where `init_app` is not needed."""
    app = Flask("service", static_folder=None)
    bearer.guard(app)
    bearer.guard(app)
    assert app.test_cli_runner().invoke(args=["bearer", "routes"]).exit_code == 0


def test_any_service_has_the_command(tmp_path: Path) -> None:
    """From a terminal, in a process of its own."""
    (tmp_path / "service.py").write_text(f"{HEAD}bearer.init_app(app)\n")
    done = subprocess.run(
        flask("--app", str(tmp_path / "service.py"), "bearer", "routes"),
        env=clean_environ({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "GET  /static/<path:filename>  NOBODY DECIDED\n", done.stderr
    assert done.returncode == 1
