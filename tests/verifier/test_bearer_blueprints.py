"""A whole blueprint, or app, behind one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, request
from flask.testing import FlaskClient
from flask.views import MethodView

from foxtrot.flask import Bearer, Misuse, public
from tests.verifier.minting import NOW, Mint
from tests.verifier.service import ask

PREFLIGHT = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}


def registered(*blueprints: Blueprint) -> FlaskClient:
    app = Flask("service")
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return app.test_client()


@pytest.fixture
def calls() -> list[str]:
    """The paths of all views that ran."""
    return []


@pytest.fixture
def view(calls: list[str]) -> Callable[[], str]:
    def view() -> str:
        calls.append(request.path)
        return "in"

    return view


@pytest.fixture
def notes(bearer: Bearer, view: Callable[[], str]) -> Blueprint:
    """Three views, two of them without a word about who may call them."""
    blueprint = Blueprint("notes", __name__)
    bearer.protect(blueprint, "notes:read")
    blueprint.add_url_rule("/plain", "plain", view, methods=["GET", "POST", "DELETE"])
    blueprint.add_url_rule("/more", "more", bearer.required("notes:write", max_age=300)(view))
    blueprint.add_url_rule("/open", "open", public(lambda: "open"))
    return blueprint


def test_every_view_of_a_protected_blueprint_wants_the_token(
    notes: Blueprint, mint: Mint, calls: list[str]
) -> None:
    """Those that say nothing too."""
    client = registered(notes)
    for path in ("/plain", "/more"):
        assert ask(client, None, path).status_code == 401
        assert ask(client, "x", path).status_code == 401
        assert ask(client, mint({"scope": "notes:write"}), path).status_code == 403
    assert calls == []
    assert ask(client, mint({"scope": "notes:read"}), "/plain").text == "in"


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
def test_no_method_passes_by_a_protected_blueprint(
    method: str, notes: Blueprint, calls: list[str]
) -> None:
    """Nor HEAD, which runs the view of GET."""
    assert registered(notes).open("/plain", method=method).status_code == 401
    assert calls == []


def test_a_route_may_demand_more_than_its_blueprint(notes: Blueprint, mint: Mint) -> None:
    """Both are asked, in that order."""
    client = registered(notes)
    assert ask(client, mint({"scope": "notes:read"}), "/more").get_json()["scope"] == "notes:write"
    assert ask(client, mint({"auth_time": NOW - 999}), "/more").status_code == 401
    assert ask(client, mint(), "/more").status_code == 200


def test_an_optional_token_does_not_open_a_protected_blueprint(
    bearer: Bearer, view: Callable[[], str]
) -> None:
    """Only `@public` is an exception."""
    blueprint = Blueprint("notes", __name__)
    bearer.protect(blueprint)
    blueprint.add_url_rule("/", "index", bearer.optional()(view))
    assert ask(registered(blueprint), None, "/").status_code == 401


def test_a_public_view_is_an_exception(notes: Blueprint) -> None:
    """Explicit, and in the view's own place; no token is looked at, bad or not."""
    client = registered(notes)
    assert ask(client, None, "/open").text == "open"
    assert ask(client, "bad", "/open").text == "open"


def test_the_view_knows_whose_token_it_was(bearer: Bearer, mint: Mint) -> None:
    """As below a decorator."""
    blueprint = Blueprint("notes", __name__)
    bearer.protect(blueprint)
    blueprint.add_url_rule("/", "who", lambda: bearer.token.subject)
    assert ask(registered(blueprint), mint(), "/").text == "u_alice"


def test_a_blueprint_may_have_something_else_to_do_when_it_is_registered(
    bearer: Bearer, calls: list[str]
) -> None:
    """Whoever looks for a view that it has already passes over that."""
    notes = Blueprint("notes", __name__)
    notes.record(print)
    notes.add_url_rule("/notes", "notes", bearer.required()(lambda: "in"))
    assert registered(notes).get("/notes").status_code == 401


def test_the_guard_comes_before_the_blueprints_own_hooks(bearer: Bearer, calls: list[str]) -> None:
    """Also before those that were registered earlier: none works for a stranger."""
    blueprint = Blueprint("notes", __name__)
    blueprint.before_request(lambda: calls.append("hook"))
    blueprint.before_request(lambda: calls.append("another"))
    bearer.protect(blueprint)
    blueprint.add_url_rule("/", "index", lambda: "in")
    assert ask(registered(blueprint), None, "/").status_code == 401
    assert calls == []


def test_nested_blueprints_are_protected_by_the_outer_one(
    bearer: Bearer, view: Callable[[], str], mint: Mint, calls: list[str]
) -> None:
    """However deep, and together with what they demand themselves."""
    outer, inner, innermost = (Blueprint(name, __name__) for name in ("outer", "inner", "core"))
    bearer.protect(outer, "notes:read")
    bearer.protect(innermost, "admin")
    inner.add_url_rule("/inner", "view", view)
    inner.add_url_rule("/open", "open", public(lambda: "open"))
    innermost.add_url_rule("/core", "view", view)
    inner.register_blueprint(innermost)
    outer.register_blueprint(inner)
    client = registered(outer)
    assert ask(client, None, "/inner").status_code == ask(client, None, "/core").status_code == 401
    assert ask(client, mint({"scope": "admin"}), "/core").status_code == 403
    assert ask(client, mint({"scope": "notes:read"}), "/core").status_code == 403
    assert calls == []
    assert ask(client, mint({"scope": "notes:read"}), "/inner").status_code == 200
    assert ask(client, mint({"scope": "notes:read admin"}), "/core").status_code == 200
    assert ask(client, None, "/open").text == "open"


def test_an_inner_blueprint_does_not_protect_the_outer_one(bearer: Bearer) -> None:
    """Protection goes inwards only."""
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    bearer.protect(inner)
    outer.add_url_rule("/", "index", lambda: "open")
    outer.register_blueprint(inner)
    assert ask(registered(outer), None, "/").status_code == 200


def test_a_blueprint_is_protected_under_every_name(notes: Blueprint) -> None:
    """It may be registered twice."""
    app = Flask("service")
    app.register_blueprint(notes, url_prefix="/v1")
    app.register_blueprint(notes, url_prefix="/v2", name="second")
    client = app.test_client()
    assert [ask(client, None, path).status_code for path in ("/v1/plain", "/v2/plain")] == [401] * 2


def test_a_class_of_views_is_protected_but_for_its_public_methods(
    bearer: Bearer, calls: list[str]
) -> None:
    """`@public` above one method is for that method alone."""

    class Board(MethodView):
        @public
        def get(self) -> str:
            return "open"

        def post(self) -> str:
            calls.append("post")
            return "in"

    blueprint = Blueprint("board", __name__)
    bearer.protect(blueprint)
    blueprint.add_url_rule("/", view_func=Board.as_view("board"))
    client = registered(blueprint)
    assert client.get("/").status_code == client.head("/").status_code == 200
    assert client.post("/").status_code == 401
    assert calls == []


def test_static_files_of_a_protected_blueprint_are_protected(
    bearer: Bearer, tmp_path: Any, mint: Mint
) -> None:
    """They are views like others."""
    (tmp_path / "file.txt").write_text("in")
    blueprint = Blueprint("notes", __name__, url_prefix="/n", static_folder=tmp_path)
    bearer.protect(blueprint)
    client = registered(blueprint)
    path = f"/n/{tmp_path.name}/file.txt"
    assert ask(client, None, path).status_code == 401
    with ask(client, mint(), path) as answer:
        assert answer.get_data(as_text=True) == "in"


# Preflights


def test_a_preflight_passes_by_a_protected_blueprint(notes: Blueprint, calls: list[str]) -> None:
    """It has no token, gets the methods, and runs nothing."""
    answer = registered(notes).options("/plain", headers=PREFLIGHT)
    assert answer.status_code == 200
    assert {"GET", "POST", "DELETE"} <= set(answer.headers["Allow"].split(", "))
    assert calls == []


@pytest.mark.parametrize("method", ["OPTIONS", "options"])
@pytest.mark.parametrize("headers", [PREFLIGHT, {}])
def test_a_view_that_serves_options_is_no_hole_in_a_blueprint(
    method: str,
    headers: dict[str, str],
    bearer: Bearer,
    view: Callable[[], str],
    calls: list[str],
) -> None:
    """It is answered for, and never run without a token."""
    blueprint = Blueprint("notes", __name__)
    bearer.protect(blueprint)
    blueprint.add_url_rule("/", "index", view, methods=["PUT", "OPTIONS"])
    answer = registered(blueprint).open("/", method=method, headers=headers)
    assert answer.data == b"" or answer.status_code == 401
    assert calls == []


def test_a_preflight_gets_the_services_own_cors_headers(notes: Blueprint) -> None:
    """Hooks after the request see it like any other."""
    app = Flask("service")
    app.register_blueprint(notes)

    @app.after_request
    def allow(answer: Response) -> Response:
        answer.headers["Access-Control-Allow-Origin"] = "https://app.example"
        return answer

    client = app.test_client()
    assert "Access-Control-Allow-Origin" in client.options("/plain", headers=PREFLIGHT).headers
    assert "Access-Control-Allow-Origin" in client.get("/plain", headers=PREFLIGHT).headers


# What runs no view


def test_an_unknown_path_below_a_protected_blueprint_is_404(notes: Blueprint) -> None:
    """There is nothing to protect."""
    client = registered(notes)
    assert ask(client, None, "/nowhere").status_code == 404
    assert client.put("/plain").status_code == 405


def test_error_handlers_of_a_protected_blueprint_answer_errors_only(
    notes: Blueprint, mint: Mint
) -> None:
    """They neither see refusals nor are they a way in."""
    notes.add_url_rule("/gone", "gone", lambda: abort(410))
    notes.register_error_handler(410, lambda _: ("handled", 410))
    notes.register_error_handler(401, lambda _: ("handled", 200))
    client = registered(notes)
    assert ask(client, None, "/gone").status_code == 401
    assert ask(client, mint(), "/gone").text == "handled"


# A whole app


def test_a_whole_app_is_protected_by_one_line(bearer: Bearer, mint: Mint) -> None:
    """With the same exceptions."""
    app = Flask("service")
    bearer.protect(app, "notes:read")
    app.add_url_rule("/", "index", lambda: "in")
    app.add_url_rule("/open", "open", public(lambda: "open"))
    client = app.test_client()
    assert [ask(client, None, path).status_code for path in ("/", "/open")] == [401, 200]
    assert ask(client, None, "/nowhere").status_code == 404
    assert ask(client, mint(), "/").text == "in"


# Misuse


def test_a_blueprint_that_is_registered_already_is_an_error(bearer: Bearer) -> None:
    """Its hooks have been taken over, and one more would do nothing."""
    blueprint = Blueprint("notes", __name__)
    Flask("service").register_blueprint(blueprint)
    with pytest.raises(Misuse, match=rf"{__file__}:\d+: 'notes' is registered already"):
        bearer.protect(blueprint)


@pytest.mark.parametrize("scope", [None, 5, "", "a b"], ids=repr)
def test_what_is_no_scope_is_an_error(scope: Any, bearer: Bearer) -> None:
    """As between the parentheses of a decorator."""
    with pytest.raises(Misuse, match=r"bearer\.protect"):
        bearer.protect(Blueprint("notes", __name__), scope)
