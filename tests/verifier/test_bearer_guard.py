"""Closed by default: a guarded app has no route of which nobody decided who may call it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask

from foxtrot.flask import Bearer, Misuse, UndecidedRoutes, public
from tests.processes import ROOT, clean_environ, flask
from tests.verifier.minting import AUDIENCE, ISSUER, Mint
from tests.verifier.service import HEAD, ask


@pytest.fixture
def app() -> Flask:
    return Flask("service", static_folder=None)


def view() -> str:
    return "in"


def other() -> str:
    return "in"


def refusal(bearer: Bearer, app: Flask, **settings: Any) -> str:
    """Have the start refused, and give what is said."""
    with pytest.raises(UndecidedRoutes) as caught:
        bearer.guard(app, **settings)
    return str(caught.value)


def test_an_app_whose_routes_are_all_decided_starts(bearer: Bearer, app: Flask, mint: Mint) -> None:
    """By a decorator, by `@public`, or by the blueprint."""
    notes = Blueprint("notes", __name__)
    bearer.protect(notes, "notes:read")
    notes.add_url_rule("/notes", "notes", view)
    app.register_blueprint(notes)
    app.add_url_rule("/me", "me", bearer.required()(view))
    app.add_url_rule("/maybe", "maybe", bearer.optional()(view))
    app.add_url_rule("/open", "open", public(lambda: "open"))
    bearer.guard(app)
    client = app.test_client()
    answers = {path: ask(client, None, path).status_code for path in ("/notes", "/me", "/open")}
    assert answers == {"/notes": 401, "/me": 401, "/open": 200}
    assert ask(client, mint(), "/notes").text == "in"


def test_a_guard_without_settings_refuses_the_start(app: Flask) -> None:
    """Where `init_app` was forgotten, or called for another app; every request would fail."""
    bearer = Bearer()
    bearer.init_app(Flask("other"), ISSUER, AUDIENCE)
    with pytest.raises(Misuse, match=r"test_bearer_guard.py:\d+: Call bearer.init_app"):
        bearer.guard(app)
    bearer.init_app(app, ISSUER, AUDIENCE)
    bearer.guard(app)


def test_undecided_routes_refuse_the_start_and_are_all_named(bearer: Bearer, app: Flask) -> None:
    """With methods, path, endpoint, and the file and line of the view."""
    notes = Blueprint("notes", __name__)
    notes.add_url_rule("/notes/<int:id>", "note", view, methods=["PUT", "DELETE"])
    app.register_blueprint(notes)
    app.add_url_rule("/one", "one", other)
    app.add_url_rule("/two", "one", other)
    app.add_url_rule("/me", "me", bearer.required()(view))
    said = refusal(bearer, app)
    place = rf"{re.escape(__file__)}:\d+"
    assert re.search(rf"^  DELETE, PUT /notes/<int:id>: notes.note, {place}$", said, re.MULTILINE)
    assert re.search(rf"^  GET /one: one, {place}$", said, re.MULTILINE)
    assert re.search(rf"^  GET /two: one, {place}$", said, re.MULTILINE)
    assert "/me" not in said
    assert "without a path" not in said


def test_what_is_said_says_what_to_do(bearer: Bearer, app: Flask) -> None:
    """Each of the ways."""
    app.add_url_rule("/", "index", view)
    said = refusal(bearer, app)
    assert all(way in said for way in ("@bearer.required(", "@public", "bearer.protect("))


@pytest.mark.parametrize("command", [("run", "--port", "0"), ("bearer", "routes")])
def test_a_service_with_an_undecided_route_does_not_start(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    """As an operator sees it: it ends at once, and the last lines say why."""
    path = tmp_path / "service.py"
    forgotten = '@app.get("/forgotten")\ndef forgotten():\n    return "in"\n'
    path.write_text(f"{HEAD}{forgotten}bearer.guard(app, public=['static'])\n")
    done = subprocess.run(
        flask("--app", str(path), *command),
        env=clean_environ({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"  GET /forgotten: forgotten, {path}:9" in done.stderr.splitlines()


def test_a_guard_above_the_route_is_named_as_such(bearer: Bearer) -> None:
    """The reason why the route is bare, where nothing found it before."""
    apps = [Flask("service", static_folder=None)]  # no variable names the app itself
    bearer.required()(apps[0].get("/")(lambda: "in"))
    assert "@bearer.required stands above the route" in refusal(bearer, apps[0])


def test_a_guard_above_the_route_is_found_in_a_protected_blueprint_too(bearer: Bearer) -> None:
    """The blueprint's protection does not hide that the view's own demand is lost."""
    blueprints = [Blueprint("notes", __name__)]
    bearer.protect(blueprints[0])
    bearer.required("admin")(blueprints[0].get("/")(lambda: "in"))
    service = Flask("service", static_folder=None)
    service.register_blueprint(blueprints[0])
    assert "above the route" in refusal(bearer, service)


def test_what_was_opened_once_stays_open_when_the_guard_is_called_again(
    bearer: Bearer, app: Flask
) -> None:
    """A second call adds to the first."""
    app.add_url_rule("/one", "one", lambda: "open")
    bearer.guard(app, public=["one"])
    bearer.guard(app)
    assert app.test_client().get("/one").text == "open"


def test_a_view_of_the_services_own_guard_may_be_guarded_elsewhere_too(
    bearer: Bearer, app: Flask
) -> None:
    """What stands on it decides where it is a view by itself."""
    views = [lambda: "in"]
    views[0].access = "who is signed in"  # type: ignore[attr-defined]
    app.add_url_rule("/token", "token", bearer.required()(views[0]))
    app.add_url_rule("/cookie", "cookie", views[0])
    bearer.guard(app)
    assert app.test_client().get("/cookie").text == "in"


# The static folder, and other views that are not the service's own


def test_the_static_folder_is_no_exception(bearer: Bearer) -> None:
    """Whether anybody may have the files is to be said."""
    service = Flask("service")
    said = refusal(bearer, service)
    assert "GET /static/<path:filename>: static" in said
    assert 'bearer.guard(app, public=["static"])' in said


def test_the_static_folder_is_public_if_that_is_said(bearer: Bearer) -> None:
    """By its endpoint."""
    service = Flask("service")
    bearer.guard(service, public=["static"])
    assert service.test_client().get("/static/nothing.txt").status_code == 404


def test_the_static_folder_of_a_protected_blueprint_may_be_public(
    bearer: Bearer, tmp_path: Any
) -> None:
    """Named by its endpoint, it is an exception like `@public`."""
    (tmp_path / "file.txt").write_text("open")
    notes = Blueprint("notes", __name__, url_prefix="/n", static_folder=tmp_path)
    bearer.protect(notes)
    service = Flask("service", static_folder=None)
    service.register_blueprint(notes)
    bearer.guard(service, public=["notes.static"])
    with service.test_client().get(f"/n/{tmp_path.name}/file.txt") as answer:
        assert answer.get_data(as_text=True) == "open"


@pytest.mark.parametrize(
    ("endpoints", "said"),
    [
        (["statics"], "no endpoint 'statics'; there are me, static"),
        ("static", "a list of endpoints"),
        (["me"], "asks for a token"),
    ],
)
def test_an_exception_that_cannot_be_meant_is_an_error(
    endpoints: Any, said: str, bearer: Bearer
) -> None:
    """A typing mistake must not be passed over."""
    service = Flask("service")
    service.add_url_rule("/me", "me", bearer.required()(view))
    with pytest.raises(Misuse, match=re.escape(said)):
        bearer.guard(service, public=endpoints)


# Other decisions


def test_a_decorator_of_the_services_own_counts(bearer: Bearer, app: Flask) -> None:
    """It says so by the view's `access`."""

    def by_cookie() -> str:
        return "in"

    by_cookie.access = "who is signed in"  # type: ignore[attr-defined]
    app.add_url_rule("/", "index", by_cookie)
    bearer.guard(app)
    assert ask(app.test_client(), None, "/").text == "in"


def test_a_hook_of_the_app_that_asks_for_a_token_decides_for_all(
    bearer: Bearer, app: Flask
) -> None:
    """It runs before every view."""
    app.before_request(bearer.required()(lambda: None))
    app.add_url_rule("/", "index", view)
    bearer.guard(app)
    assert ask(app.test_client(), None, "/").status_code == 401


def test_a_hook_that_only_looks_who_calls_decides_nothing(bearer: Bearer, app: Flask) -> None:
    """An optional token in front of every view closes none."""
    app.before_request(bearer.optional()(lambda: None))
    app.add_url_rule("/", "index", view)
    assert "/" in refusal(bearer, app)


def test_any_other_hook_decides_nothing(bearer: Bearer, app: Flask) -> None:
    """What it does is not known."""
    app.before_request(lambda: None)
    app.add_url_rule("/", "index", view)
    assert "/" in refusal(bearer, app)


def test_two_guards_in_one_app_know_of_each_other(bearer: Bearer, app: Flask, keys: Any) -> None:
    """A route behind either is decided."""
    second = Bearer("https://other.example", "notes", keys=[keys])
    app.add_url_rule("/one", "one", bearer.required()(view))
    app.add_url_rule("/other", "other", second.required()(other))
    bearer.guard(app)
    second.guard(app)
    with pytest.raises(UndecidedRoutes):
        app.add_url_rule("/late", "late", view)


def test_a_redirect_of_the_router_needs_no_decision(bearer: Bearer, app: Flask) -> None:
    """It runs no view."""
    app.url_map.add(app.url_rule_class("/old", redirect_to="/new"))
    bearer.guard(app)
    assert app.test_client().get("/old").status_code == 308
