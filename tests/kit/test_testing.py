"""The test kit as a service's developer uses it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, request
from flask.testing import FlaskClient
from flask.views import MethodView

from foxtrot import InvalidToken, Verifier
from foxtrot.flask import Bearer
from foxtrot.flask.demand import Demand
from foxtrot.testing import InProcessIssuer, assert_all_routes_guarded

pytest_plugins = ["foxtrot.testing"]

bearer = Bearer()


def public(view: Any) -> Any:
    """What a service's `@public` leaves behind."""
    view.access = "public"
    return view


def declaring(*scopes: str, **options: Any) -> Callable[[Any], Any]:
    """A view that says more of itself than its guard looks at."""

    def with_guard(guard: Any) -> Any:
        view = guard(lambda: "")
        view.demands = (Demand.of("", scopes, options, optional=False),)
        return view

    return with_guard


@pytest.fixture
def app(issuer: InProcessIssuer) -> Flask:
    """A service with one route for everybody, and some for who may."""
    app = Flask(__name__)
    app.add_url_rule("/", view_func=public(lambda: "Hello"), endpoint="about")

    @app.get("/notes")
    @bearer.required("notes:read")
    def list_notes() -> str:
        return bearer.token.subject

    @app.route("/notes/<int:number>", methods=["PUT", "DELETE"])
    @bearer.required("notes:read", "notes:write")
    def change(number: int) -> str:
        return f"{number}"

    issuer.attach(app, bearer, audience="notes")
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_a_user_gets_in_with_the_scope(client: FlaskClient, issuer: InProcessIssuer) -> None:
    """`as_user` is the whole of signing in."""
    answer = client.get("/notes", headers=issuer.as_user("ann", scopes="notes:read"))
    assert (answer.status_code, answer.text) == (200, "ann")


def test_a_user_without_the_scope_does_not(client: FlaskClient, issuer: InProcessIssuer) -> None:
    """Scopes are a text or several."""
    headers = issuer.as_user("ann", scopes=["notes:write", "photos:read"])
    assert client.get("/notes", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        ("expired", "expired"),
        ("not_yet_valid", "not_yet_valid"),
        ("wrong_audience", "wrong_audience"),
        ("wrong_issuer", "wrong_issuer"),
        ("wrong_type", "wrong_type"),
        ("ended_session", "revoked"),
        ("forged", "bad_signature"),
    ],
)
def test_wrong_tokens_are_one_call_away(
    client: FlaskClient, issuer: InProcessIssuer, make: str, reason: str
) -> None:
    """Each is refused for what its name says."""
    answer = client.get("/notes", headers=getattr(issuer, make)("ann", scopes="notes:read"))
    assert (answer.status_code, answer.get_json(force=True)["reason"]) == (401, reason)


def test_time_moves_without_waiting(client: FlaskClient, issuer: InProcessIssuer) -> None:
    """A token is good until its lifetime and the leeway are over."""
    headers = issuer.as_user("ann", scopes="notes:read", lifetime=60)
    issuer.clock.advance(89)
    assert client.get("/notes", headers=headers).status_code == 200
    issuer.clock.advance(1)
    assert client.get("/notes", headers=headers).status_code == 401


def test_a_logout_reaches_the_service(client: FlaskClient, issuer: InProcessIssuer) -> None:
    """Of the session named, and of no other."""
    phone = issuer.as_user("ann", scopes="notes:read", session="phone")
    laptop = issuer.as_user("ann", scopes="notes:read", session="laptop")
    issuer.end("phone")
    assert client.get("/notes", headers=phone).status_code == 401
    assert client.get("/notes", headers=laptop).status_code == 200


def test_any_wrong_token_can_be_had_by_name(client: FlaskClient, issuer: InProcessIssuer) -> None:
    """A name that is none is answered with those that are."""
    assert client.get("/notes", headers=issuer.wrong("alg none")).status_code == 401
    with pytest.raises(LookupError, match="there are: other audience"):
        issuer.wrong("perfect")


def test_a_verifier_without_flask_believes_the_issuer(issuer: InProcessIssuer) -> None:
    """For FastAPI and all the others."""
    issuer.audience = "photos"
    verifier = Verifier(**issuer.settings)
    assert verifier.verify(issuer.token("ann")).subject == "ann"
    for token in issuer.wrong_tokens():
        with pytest.raises(InvalidToken):
            verifier.verify(token.text)


def test_a_service_may_take_the_public_key_in_its_settings(issuer: InProcessIssuer) -> None:
    """Then nothing of it is replaced; only the clock is the real one."""
    issuer.audience = "notes"
    verifier = Verifier(issuer.url, "notes", public_key=issuer.public_key)
    assert verifier.verify(issuer.token("ann", "notes:read")).scopes == {"notes:read"}


def test_further_claims_are_given_by_name(issuer: InProcessIssuer) -> None:
    """Such as those of the operator's hook."""
    token = Verifier(**issuer.settings).verify(issuer.token("ann", team="blue"))
    assert token.claims["team"] == "blue"


def test_an_app_that_is_guarded_passes(app: Flask) -> None:
    """The route for everybody wears @public."""
    assert_all_routes_guarded(app)


def test_a_route_without_a_decorator_is_named(app: Flask) -> None:
    """With its method, path and endpoint."""
    app.add_url_rule("/export/<name>", "export", lambda name: name, methods=["POST"])
    with pytest.raises(AssertionError, match=r"POST /export/1 \(export\)\n +no token at all"):
        assert_all_routes_guarded(app)


@pytest.mark.parametrize("checked", ["notes:read", "notes:write"])
def test_a_route_that_checks_one_of_its_scopes_is_found(app: Flask, checked: str) -> None:
    """Whichever of the two it forgets."""
    view = declaring("notes:read", "notes:write")(bearer.required(checked))
    app.add_url_rule("/both", "both", view, methods=["POST"])
    forgotten = ({"notes:read", "notes:write"} - {checked}).pop()
    with pytest.raises(AssertionError, match=f"without {forgotten}: answered 200, expected 403"):
        assert_all_routes_guarded(app)


def protected(app: Flask, *scopes: str, **options: Any) -> Blueprint:
    """A blueprint with a view that says nothing of its own."""
    blueprint = Blueprint("inner", __name__, url_prefix="/inner")
    bearer.protect(blueprint, *scopes, **options)
    blueprint.get("/list", endpoint="list")(lambda: "")
    return blueprint


def test_a_protected_blueprint_is_tried_with_its_scopes(app: Flask) -> None:
    """A view's own come on top; a public one is left out."""
    inner = protected(app, "notes:read")
    inner.post("/", endpoint="add")(bearer.required("notes:write")(lambda: ""))
    inner.get("/about", endpoint="about")(public(lambda: "Hello"))
    app.register_blueprint(inner)
    assert_all_routes_guarded(app)


def test_a_protection_that_forgets_its_scope_is_found(app: Flask) -> None:
    """What it says is what it is held to."""
    inner = protected(app)
    hook: Any = inner.before_request_funcs[None][0]
    hook.demands = (Demand.of("", ("notes:read",), {}, optional=False),)
    app.register_blueprint(inner)
    with pytest.raises(AssertionError, match=r"GET /inner/list \(inner.list\)\n +no scope: answ"):
        assert_all_routes_guarded(app)


CHOICES = [("notes:read", "admin"), ("notes:read", "notes:rea"), ("1", "11")]


@pytest.mark.parametrize("choice", CHOICES)
def test_one_of_a_choice_of_scopes_is_enough(app: Flask, choice: tuple[str, ...]) -> None:
    """A near miss that is another of the choice is good."""
    view = bearer.required("notes:write", any_of=choice)(lambda: "")
    app.add_url_rule("/choice", "choice", view)
    assert_all_routes_guarded(app)


def test_a_choice_that_is_not_looked_at_is_found(app: Flask) -> None:
    """A token without any of it is among the wrong ones."""
    view = declaring("notes:write", any_of=["notes:read", "admin"])(bearer.required("notes:write"))
    app.add_url_rule("/choice", "choice", view)
    with pytest.raises(AssertionError, match=r"GET /choice .*\n +without notes:read: answered 200"):
        assert_all_routes_guarded(app)


def test_what_the_guard_was_told_is_public_need_not_be_named_again(app: Flask) -> None:
    """The service said so once."""
    app.add_url_rule("/healthz", "healthz", lambda: "ok")
    bearer.guard(app, public=["static", "healthz"])
    assert_all_routes_guarded(app)


def test_the_kit_is_of_use_without_flask() -> None:
    """As a FastAPI service's tests have it."""
    code = "import sys; sys.modules['flask'] = None; import foxtrot.testing as kit;"
    code += "print(kit.InProcessIssuer('notes').token()[:3])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "eyJ\n"


def test_a_route_that_is_public_can_be_named(app: Flask) -> None:
    """By its endpoint or its path; a name that is no route's is a mistake."""
    app.add_url_rule("/healthz", "healthz", lambda: "ok")
    assert_all_routes_guarded(app, public=["healthz"])
    assert_all_routes_guarded(app, public=["/healthz"])
    with pytest.raises(ValueError, match="no route 'health'"):
        assert_all_routes_guarded(app, public=["healthz", "health"])


def test_a_class_of_views_may_be_public_by_a_method(app: Flask) -> None:
    """The decorator stands on the handler then."""

    class Feed(MethodView):
        @public
        def get(self) -> str:
            return "for all"

        @bearer.required("notes:write")
        def post(self) -> str:
            return "for some"

        def delete(self) -> str:
            return "forgotten"

    app.add_url_rule("/feed", view_func=Feed.as_view("feed"))
    with pytest.raises(AssertionError, match=r"1 of \d routes .*\n  DELETE /feed \(feed\)"):
        assert_all_routes_guarded(app)


def test_an_optional_route_is_tried_with_bad_tokens_only(app: Flask) -> None:
    """It answers without a token, and refuses a bad one."""
    app.add_url_rule("/feed", "feed", bearer.optional()(lambda: "for all"))
    assert_all_routes_guarded(app, optional=["feed"])
    with pytest.raises(AssertionError, match="no token at all: answered 200"):
        assert_all_routes_guarded(app)


def test_a_guard_that_looks_only_for_a_header_is_found(app: Flask) -> None:
    """What it lets through is named, as far as it helps."""

    def careless() -> tuple[str, int]:
        return ("in", 200) if "Authorization" in request.headers else ("out", 401)

    app.add_url_rule("/careless", "careless", careless)
    with pytest.raises(AssertionError) as caught:
        assert_all_routes_guarded(app)
    assert "other audience: answered 200, expected 401." in str(caught.value)
    assert "and 80 more" in str(caught.value)


def test_an_app_that_believes_another_issuer_proves_nothing(app: Flask) -> None:
    """It refuses all, for the wrong reason."""
    with pytest.raises(AssertionError, match="for another reason"):
        assert_all_routes_guarded(app, InProcessIssuer("another-service"))


def test_a_guard_that_refuses_everybody_proves_nothing(issuer: InProcessIssuer) -> None:
    """Where refusals do not say why, a good token has to pass."""
    app = Flask(__name__)
    app.add_url_rule("/closed", "closed", lambda: ("no", 401))
    with pytest.raises(AssertionError, match="a good token: answered 401"):
        assert_all_routes_guarded(app, issuer)


def test_a_guard_of_its_own_that_believes_others_proves_nothing(app: Flask) -> None:
    """A route to send to, that trusts whoever names the right issuer, refuses all of ours."""

    @app.post("/pay")
    def pay() -> tuple[str, int]:
        return "", 200 if "login.example.com" in request.headers.get("Authorization", "") else 401

    with pytest.raises(AssertionError, match=r"POST /pay \(pay\)\s+a good token: answered 401"):
        assert_all_routes_guarded(app)


def test_only_flasks_own_static_files_are_for_everybody(issuer: InProcessIssuer) -> None:
    """A view that happens to be called `static` is a view like any other."""
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/secrets", endpoint="static", view_func=lambda: "secret")
    issuer.attach(app, bearer, audience="notes")
    with pytest.raises(AssertionError, match=r"GET /secrets \(static\)"):
        assert_all_routes_guarded(app)


def test_an_issuer_must_be_attached() -> None:
    """Or be given."""
    with pytest.raises(ValueError, match="Attach an issuer"):
        assert_all_routes_guarded(Flask(__name__))


@pytest.mark.parametrize(
    "path",
    [
        "/<int:a>",
        "/<float:a>",
        "/<uuid:a>",
        "/<path:a>",
        "/<any(red, blue):a>",
        "/<string(length=3):a>",
        "/<a>/<int:b>",
    ],
)
def test_url_parameters_are_filled(issuer: InProcessIssuer, path: str) -> None:
    """Whatever the converter wants; else the route would answer 404."""
    app = Flask(__name__)
    app.add_url_rule(path, "view", bearer.required()(lambda **_: ""), methods=["DELETE"])
    issuer.attach(app, bearer)
    assert_all_routes_guarded(app)


def test_a_parameter_can_be_given(issuer: InProcessIssuer) -> None:
    """For a converter of the app's own."""
    app = Flask(__name__)
    app.add_url_rule("/<int(min=1000):year>", "view", bearer.required()(lambda **_: ""))
    issuer.attach(app, bearer)
    with pytest.raises(AssertionError, match="answered 404"):
        assert_all_routes_guarded(app)
    assert_all_routes_guarded(app, values={"year": "2026"})


def test_the_example_of_the_docs_without_flask_runs() -> None:
    """As it stands there."""
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    source = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[-1]
    exec(compile(source, "docs/testing.md", "exec"), {})
