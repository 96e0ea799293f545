"""Classes of views, and views that are no plain functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, Response
from flask.views import MethodView, View

from foxtrot.flask import Bearer, UndecidedRoutes, public
from tests.verifier.minting import Mint
from tests.verifier.service import ask


@pytest.fixture
def app() -> Flask:
    return Flask("service", static_folder=None)


def view() -> str:
    return "in"


def refusal(bearer: Bearer, app: Flask) -> str:
    """Have the start refused, and give what is said."""
    with pytest.raises(UndecidedRoutes) as caught:
        bearer.guard(app)
    return str(caught.value)


class Board(MethodView):
    """One method is decided, one is not."""

    @public
    def get(self) -> str:
        return "open"

    def post(self) -> str:
        return "in"


def test_every_method_of_a_class_needs_a_decision(bearer: Bearer, app: Flask) -> None:
    """The undecided one is named."""
    app.add_url_rule("/board", view_func=Board.as_view("board"))
    said = refusal(bearer, app)
    assert "  POST /board: board" in said
    assert "GET" not in said


@pytest.mark.parametrize("method", ["head", "options"])
def test_methods_that_flask_would_answer_need_a_decision_too(
    method: str, bearer: Bearer, app: Flask
) -> None:
    """Where the class answers them itself."""
    members = {"get": public(lambda _self: "open"), method: lambda _self: "in"}
    board: Any = type("Board", (MethodView,), members)
    app.add_url_rule("/board", view_func=board.as_view("board"))
    assert f"  {method.upper()} /board: board" in refusal(bearer, app)


def test_methods_that_a_class_does_not_announce_need_a_decision_too(
    bearer: Bearer, app: Flask
) -> None:
    """A rule may serve them all the same."""

    class Quiet(MethodView):
        methods = ["GET"]  # noqa: RUF012

        @public
        def get(self) -> str:
            return "open"

        def delete(self) -> str:
            return "in"

        def propfind(self) -> str:
            return "in"

    app.add_url_rule("/quiet", view_func=Quiet.as_view("quiet"), methods=["GET", "PROPFIND"])
    said = refusal(bearer, app)
    assert "DELETE" in said
    assert "PROPFIND" in said


def test_a_rule_for_whatever_method_needs_a_decision_of_the_class(
    bearer: Bearer, app: Flask
) -> None:
    """Beside other rules, too: a method may have any name."""
    members = {"get": public(lambda _self: "open")}
    board: Any = type("Board", (MethodView,), members)
    app.add_url_rule("/board", view_func=board.as_view("board"))
    app.url_map.add(app.url_rule_class("/any", endpoint="board"))
    assert "/any: board" in refusal(bearer, app)


def test_a_subclass_does_not_inherit_a_decision_that_it_overrides(
    bearer: Bearer, app: Flask
) -> None:
    """The method that runs is the one that counts."""

    class Child(Board):
        @bearer.required()
        def post(self) -> str:
            return "in"

        def get(self) -> str:
            return "in"

    app.add_url_rule("/child", view_func=Child.as_view("child"))
    assert "  GET /child: child" in refusal(bearer, app)


def test_a_class_is_decided_by_its_decorators(bearer: Bearer, app: Flask) -> None:
    """For all its methods, HEAD included."""
    calls = []

    class Closed(MethodView):
        decorators = [bearer.required("notes:read")]  # noqa: RUF012

        def get(self) -> str:
            calls.append("get")
            return "in"

        def options(self) -> str:
            calls.append("options")
            return "in"

    app.add_url_rule("/closed", view_func=Closed.as_view("closed"))
    bearer.guard(app)
    client = app.test_client()
    assert client.get("/closed").status_code == client.head("/closed").status_code == 401
    assert client.options("/closed").data == b""
    assert calls == []


def test_a_class_may_decide_method_by_method(bearer: Bearer, app: Flask, mint: Mint) -> None:
    """Reading is open, writing is not."""

    class Mixed(MethodView):
        @public
        def get(self) -> str:
            return "open"

        @bearer.required("notes:write")
        def post(self) -> str:
            return bearer.token.subject

    app.add_url_rule("/mixed", view_func=Mixed.as_view("mixed"))
    bearer.guard(app)
    client = app.test_client()
    assert (client.get("/mixed").text, client.post("/mixed").status_code) == ("open", 401)
    answer = client.post("/mixed", headers={"Authorization": f"Bearer {mint()}"})
    assert answer.text == "u_alice"


def test_a_class_that_dispatches_by_itself_is_not_judged_by_its_methods(
    bearer: Bearer, app: Flask
) -> None:
    """What it runs is not known."""

    class Own(MethodView):
        @public
        def get(self) -> str:
            return "open"

        def dispatch_request(self, **_: Any) -> str:
            return "in"

    class Plain(View):
        def dispatch_request(self) -> str:
            return "in"

    app.add_url_rule("/own", view_func=Own.as_view("own"))
    app.add_url_rule("/plain", view_func=Plain.as_view("plain"))
    said = refusal(bearer, app)
    assert "/own: own" in said
    assert "/plain: plain" in said


def test_a_view_that_is_not_written_in_python_is_named_by_itself(
    bearer: Bearer, app: Flask
) -> None:
    """It has no file and line."""
    app.add_url_rule("/max", "max", max)
    assert "  GET /max: max, <built-in function max>" in refusal(bearer, app)


def test_a_class_that_is_called_as_a_view_is_guarded_like_a_function(
    bearer: Bearer, app: Flask, mint: Mint
) -> None:
    """It is no class of views: what it makes is the answer."""

    class Page(Response):
        def __init__(self) -> None:
            super().__init__("in")

    app.add_url_rule("/page", "page", bearer.required()(Page))
    bearer.guard(app)
    client = app.test_client()
    assert ask(client, None, "/page").status_code == 401
    assert ask(client, mint(), "/page").text == "in"


# Async views


class AsyncService(Flask):
    """Flask runs async views through this hook; asyncio alone will do."""

    def async_to_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: asyncio.run(func(*args, **kwargs))


@pytest.fixture
def async_app(bearer: Bearer) -> Flask:
    """Async views behind a blueprint, a class and a method."""
    app, notes = AsyncService("service", static_folder=None), Blueprint("notes", __name__)
    bearer.protect(notes, "notes:read")

    async def who(*_: Any) -> str:
        await asyncio.sleep(0)
        return bearer.token.subject

    closed: Any = type("Closed", (MethodView,), {"decorators": [bearer.required()], "get": who})
    mixed: Any = type("Mixed", (MethodView,), {"get": bearer.required()(who)})
    notes.add_url_rule("/blueprint", "who", who)
    app.add_url_rule("/class", view_func=closed.as_view("closed"))
    app.add_url_rule("/method", view_func=mixed.as_view("mixed"))
    app.register_blueprint(notes)
    bearer.guard(app)
    return app


@pytest.mark.parametrize("path", ["/blueprint", "/class", "/method"])
def test_an_async_view_is_guarded_like_any_other(path: str, async_app: Flask, mint: Mint) -> None:
    """Whatever guards it."""
    client = async_app.test_client()
    assert ask(client, None, path).status_code == client.head(path).status_code == 401
    assert ask(client, mint(), path).text == "u_alice"
