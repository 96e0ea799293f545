"""What is registered in a guarded app later is decided, or refused where it is registered."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView
from werkzeug.routing import Rule, Submount

from foxtrot.flask import Bearer, UndecidedRoutes, public
from tests.verifier.service import ask


@pytest.fixture
def app() -> Flask:
    return Flask("service", static_folder=None)


def view() -> str:
    return "in"


def other() -> str:
    return "in"


def add_rule(app: Flask) -> None:
    app.add_url_rule("/late", "late", other)


def add_blueprint(app: Flask) -> None:
    late = Blueprint("late", __name__)
    late.add_url_rule("/late", "view", other)
    app.register_blueprint(late)


def add_endpoint(app: Flask) -> None:
    app.url_map.add(app.url_rule_class("/late", endpoint="late"))
    app.endpoint("late")(other)


def add_endpoint_first(app: Flask) -> None:
    app.endpoint("late")(other)
    app.url_map.add(app.url_rule_class("/late", endpoint="late"))


def replace(app: Flask) -> None:
    app.view_functions["early"] = other


def update(app: Flask) -> None:
    app.view_functions.update({"early": other})


def merge(app: Flask) -> None:
    app.view_functions |= {"early": other}


def set_default(app: Flask) -> None:
    app.view_functions.setdefault("late", other)


def add_class(app: Flask) -> None:
    class Board(MethodView):
        def get(self) -> str:
            return "in"

    app.add_url_rule("/late", view_func=Board.as_view("board"))


LATE = [
    add_rule, add_blueprint, add_endpoint, add_endpoint_first, replace, update, merge,
    set_default, add_class,
]  # fmt: skip


@pytest.mark.parametrize("late", LATE)
def test_an_undecided_route_that_comes_later_is_refused_at_once(
    late: Callable[[Flask], None], bearer: Bearer, app: Flask
) -> None:
    """Where it is registered, in whatever way, with the file and line of the view."""
    app.add_url_rule("/early", "early", bearer.required()(view))
    bearer.guard(app)
    with pytest.raises(UndecidedRoutes, match=rf"{re.escape(__file__)}:\d+"):
        late(app)


@pytest.mark.parametrize("late", LATE)
def test_a_service_that_swallows_the_error_has_no_open_route(
    late: Callable[[Flask], None], bearer: Bearer, app: Flask
) -> None:
    """The view was never let in, so nothing of it can run."""
    app.add_url_rule("/early", "early", bearer.required()(view))
    bearer.guard(app)
    with pytest.raises(UndecidedRoutes):
        late(app)
    client = app.test_client()
    assert client.get("/early").status_code == 401
    assert client.get("/late").status_code in (404, 500)


class Board(MethodView):
    """Decided for the methods that everybody knows."""

    @public
    def get(self) -> str:
        return "open"

    def propfind(self) -> str:
        return "in"


def name_the_endpoint(app: Flask) -> None:
    app.add_url_rule("/late", "board", methods=["PROPFIND"])


def name_the_view(app: Flask) -> None:
    app.add_url_rule("/late", "board", app.view_functions["board"], methods=["PROPFIND"])


def submount(app: Flask) -> None:
    app.url_map.add(Submount("/late", [Rule("/", endpoint="board", methods=["PROPFIND"])]))


def serve_any_method(app: Flask) -> None:
    app.url_map.add(Rule("/late", endpoint="board"))


@pytest.mark.parametrize("late", [name_the_endpoint, name_the_view, submount, serve_any_method])
def test_a_later_rule_serves_nothing_undecided_of_an_earlier_class(
    late: Callable[[Flask], None], bearer: Bearer, app: Flask
) -> None:
    """A method of the service's own needs a decision, too; the rule is refused, and not kept."""
    app.add_url_rule("/early", view_func=Board.as_view("board"))
    bearer.guard(app)
    with pytest.raises(UndecidedRoutes, match=r"/late/?: board"):
        late(app)
    client = app.test_client()
    assert client.open("/late", method="PROPFIND").status_code == 404
    assert client.get("/early").text == "open"


def test_a_decided_route_may_come_later(bearer: Bearer, app: Flask) -> None:
    """By whatever decides."""
    bearer.guard(app)
    notes = Blueprint("notes", __name__)
    bearer.protect(notes)
    notes.add_url_rule("/notes", "notes", other)
    app.register_blueprint(notes)
    app.add_url_rule("/late", "late", bearer.required()(view))
    app.add_url_rule("/later", view_func=app.view_functions["late"], endpoint="late")
    client = app.test_client()
    assert [ask(client, None, path).status_code for path in ("/notes", "/late", "/later")] == (
        [401] * 3
    )


def test_a_view_that_is_there_stays_where_another_is_only_a_default(
    bearer: Bearer, app: Flask
) -> None:
    """As in any other dict."""
    app.add_url_rule("/early", "early", bearer.required()(view))
    bearer.guard(app)
    app.view_functions.setdefault("early", public(lambda: "open"))
    assert app.test_client().get("/early").status_code == 401
