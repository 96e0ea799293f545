"""Ways to put a guard on views and to configure it, right and wrong ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient

from foxtrot import JWKSet
from foxtrot.flask import Bearer
from tests.verifier.minting import AUDIENCE, ISSUER, Clock, Mint
from tests.verifier.service import Notes, ask, notes_client

# Ways to use the decorator


def test_two_decorators_demand_both(app: Notes, bearer: Bearer, mint: Mint) -> None:
    """In either order neither opens what the other closes."""
    inner_first = bearer.required("admin")(bearer.required("notes:read")(app.who))
    inner_last = bearer.required("notes:read")(bearer.required("admin")(app.who))
    app.add_url_rule("/one", "one", inner_first)
    app.add_url_rule("/other", "other", inner_last)
    client = app.test_client()
    for path in ("/one", "/other"):
        assert ask(client, None, path).status_code == 401
        assert ask(client, mint({"scope": "notes:read"}), path).status_code == 403
        assert ask(client, mint({"scope": "admin"}), path).status_code == 403
        assert ask(client, mint({"scope": "admin notes:read"}), path).status_code == 200


def test_an_optional_token_does_not_open_a_required_one(
    app: Notes, bearer: Bearer, mint: Mint
) -> None:
    """Required wins, outside and inside."""
    app.add_url_rule("/one", "one", bearer.required()(bearer.optional()(app.who)))
    app.add_url_rule("/other", "other", bearer.optional()(bearer.required()(app.who)))
    for path in ("/one", "/other"):
        assert ask(app.test_client(), None, path).status_code == 401
        assert ask(app.test_client(), mint(), path).status_code == 200


class AsyncNotes(Notes):
    """Flask runs async views through this hook; asyncio alone will do."""

    def async_to_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: asyncio.run(func(*args, **kwargs))


@pytest.mark.parametrize("times", [1, 2])
def test_an_async_view_is_guarded(times: int, bearer: Bearer, mint: Mint) -> None:
    """It runs with a token and not without, decorated once or twice."""
    app = AsyncNotes(bearer)

    async def view() -> dict[str, str | None]:
        await asyncio.sleep(0)
        return app.who()

    guarded: Any = view
    for _ in range(times):
        guarded = bearer.required()(guarded)
    app.add_url_rule("/async", "async", guarded)
    assert ask(app.test_client(), None, "/async").status_code == 401
    assert app.calls == []
    assert ask(app.test_client(), mint(), "/async").get_json() == {"subject": "u_alice"}


def test_arguments_of_the_route_reach_the_view(app: Notes, bearer: Bearer, mint: Mint) -> None:
    """The decorator is transparent."""

    @app.get("/notes/<int:number>")
    @bearer.required("notes:read")
    def read_note(number: int) -> str:
        """Show one note."""
        return f"{number} of {bearer.token.subject}"

    assert ask(app.test_client(), mint(), "/notes/7").text == "7 of u_alice"
    assert (read_note.__name__, read_note.__doc__) == ("read_note", "Show one note.")


@pytest.mark.parametrize("name", ["required", "optional"])
def test_the_decorator_without_parentheses_is_an_error(name: str, bearer: Bearer) -> None:
    """`@bearer.required` above a view must not become a view that lets everybody in."""
    with pytest.raises(TypeError, match="parentheses"):
        getattr(bearer, name)(lambda: "open to all")


@pytest.mark.parametrize(
    "scope", [None, 5, "", b"notes", ["a"], "a b", " a", 'a"', "a\\", "a\n", "é"], ids=repr
)
@pytest.mark.parametrize("name", ["required", "optional"])
def test_what_is_no_scope_is_an_error(name: str, scope: object, bearer: Bearer) -> None:
    """One scope an argument, in the characters of RFC 6749 section 3.3."""
    with pytest.raises(TypeError):
        getattr(bearer, name)(scope)


def test_a_guarded_view_says_so(bearer: Bearer) -> None:
    """A test that walks the routes can find the views without a guard."""

    @bearer.required("notes:read")
    def view() -> None: ...

    assert view.__dict__["access"] == ("bearer", {"notes:read"})


def test_a_view_without_a_guard_has_no_token(app: Notes, bearer: Bearer, mint: Mint) -> None:
    """A token that nobody verified is not handed out."""
    app.add_url_rule("/unguarded", "unguarded", lambda: str(bearer.token_or_none))
    assert ask(app.test_client(), mint(), "/unguarded").text == "None"


def test_the_token_of_a_view_without_a_guard_is_an_error(bearer: Bearer, mint: Mint) -> None:
    """Whoever forgot the decorator learns it at the first request."""
    headers = {"Authorization": f"Bearer {mint()}"}
    with (
        Flask("x").test_request_context(headers=headers),
        pytest.raises(RuntimeError, match="no verified token"),
    ):
        _ = bearer.token


def test_an_anonymous_request_has_no_token(app: Notes, bearer: Bearer) -> None:
    """Where the token is optional `bearer.token` is an error, `token_or_none` None."""

    def view() -> str:
        with pytest.raises(RuntimeError):
            _ = bearer.token
        return str(bearer.token_or_none)

    app.add_url_rule("/anonymous", "anonymous", bearer.optional()(view))
    assert ask(app.test_client(), None, "/anonymous").text == "None"


def test_the_token_of_one_guard_is_not_handed_out_by_another(
    app: Notes, bearer: Bearer, keys: JWKSet, mint: Mint
) -> None:
    """A guard for another audience never verified this token."""
    other = Bearer(ISSUER, "admin-console", keys=[keys], clock=Clock())
    app.add_url_rule("/mixed", "mixed", bearer.required()(lambda: str(other.token_or_none)))
    assert ask(app.test_client(), mint(), "/mixed").text == "None"


def test_one_request_does_not_see_the_token_of_another(client: FlaskClient, mint: Mint) -> None:
    """After Alice nobody is nobody again."""
    assert ask(client, mint(), "/maybe").get_json() == {"subject": "u_alice"}
    assert ask(client, None, "/maybe").get_json() == {"subject": None}
    bob = mint({"sub": "u_bob", "uid": "u_bob"})
    assert ask(client, bob, "/maybe").get_json() == {"subject": "u_bob"}


def test_a_request_header_cannot_pose_as_the_verified_token(client: FlaskClient) -> None:
    """Clients choose header names; none reaches the place of the verified token."""
    headers = {"foxtrot.token": "x", "foxtrot-token": "x", "Foxtrot_Token": "x"}
    assert client.get("/maybe", headers=headers).get_json() == {"subject": None}


def test_other_answers_of_the_service_stay_as_they_are(client: FlaskClient) -> None:
    """An unknown path is 404, and a method that is not served 405, without a token."""
    assert client.get("/nowhere").status_code == 404
    assert client.delete("/notes").status_code == 405


# Settings


def test_a_guard_may_get_its_settings_from_the_app(keys: JWKSet, mint: Mint) -> None:
    """A module makes the guard, the factory of the app configures it."""
    bearer = Bearer()
    app = Flask("late")
    bearer.init_app(app, issuer=ISSUER, audience=AUDIENCE, keys=[keys], clock=Clock())
    app.add_url_rule("/", "index", bearer.required()(lambda: bearer.token.subject))
    assert ask(app.test_client(), mint(), "/").text == "u_alice"


def test_two_apps_may_configure_one_guard_differently(keys: JWKSet, mint: Mint) -> None:
    """Settings of one app do not reach the other."""
    bearer = Bearer()
    answers = []
    for audience in (AUDIENCE, "photos", "mail"):
        app = Flask(audience)
        bearer.init_app(app, issuer=ISSUER, audience=audience, keys=[keys], clock=Clock())
        app.add_url_rule("/", "index", bearer.required()(lambda: "in"))
        answers.append(ask(app.test_client(), mint(), "/").status_code)
    assert answers == [200, 200, 401]


def test_the_settings_of_an_app_win_over_the_constructors(keys: JWKSet, mint: Mint) -> None:
    """`init_app` with settings is for that app alone, and for that app it counts."""
    bearer, app = Bearer(ISSUER, AUDIENCE, keys=[keys], clock=Clock()), Flask("strict")
    bearer.init_app(app, issuer=ISSUER, audience="admin-console", keys=[keys], clock=Clock())
    app.add_url_rule("/", "index", bearer.required()(lambda: "in"))
    assert ask(app.test_client(), mint(), "/").get_json()["reason"] == "wrong_audience"


def test_a_guard_that_was_never_configured_lets_nobody_in(mint: Mint) -> None:
    """A forgotten `init_app` is an error that says so, and no open door."""
    app = Flask("forgotten")
    app.testing = True
    app.add_url_rule("/", "index", Bearer().required()(lambda: "in"))
    with pytest.raises(RuntimeError, match="init_app"):
        ask(app.test_client(), mint(), "/")


def test_a_guard_without_settings_is_refused_by_init_app() -> None:
    """Whoever gives none to the constructor gives them there."""
    with pytest.raises(ValueError, match="issuer and an audience"):
        Bearer().init_app(Flask("x"))


@pytest.mark.parametrize(
    "settings", [{"issuer": ISSUER}, {"audience": AUDIENCE}, {"realm": "notes"}]
)
def test_init_app_replaces_all_settings_or_none(settings: Any, bearer: Bearer) -> None:
    """A part of them would be mixed with those of the constructor, or lost: it is refused."""
    with pytest.raises(ValueError, match="issuer and an audience"):
        bearer.init_app(Flask("x"), **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"issuer": ISSUER},
        {"audience": AUDIENCE},
        {"issuer": "", "audience": AUDIENCE},
        {"issuer": ISSUER, "audience": ""},
        {"secret": "x" * 40},
    ],
    ids=repr,
)
def test_a_guard_needs_issuer_and_audience(settings: dict[str, Any]) -> None:
    """Half of them is refused when the guard is made, and by `init_app` as well."""
    with pytest.raises(ValueError, match="issuer and an audience"):
        Bearer(**settings)
    with pytest.raises(ValueError, match="issuer and an audience"):
        Bearer().init_app(Flask("x"), **settings)


@pytest.mark.parametrize("secret", ["", "foxtrot", "x" * 40, "short"])
def test_a_guard_refuses_a_poor_secret(secret: str) -> None:
    """When the service starts, and never by falling back to discovery."""
    with pytest.raises(ValueError, match=r"secret|empty"):
        Bearer(ISSUER, AUDIENCE, secret=secret)


def test_an_unknown_setting_is_an_error(keys: JWKSet) -> None:
    """A misspelt setting must not be ignored."""
    with pytest.raises(TypeError):
        notes_client(keys=[keys], audiences=["x"])


def test_a_guard_works_in_a_before_request_hook(app: Notes, bearer: Bearer, mint: Mint) -> None:
    """A whole app may be guarded at once."""

    @app.before_request
    @bearer.required("notes:read")
    def guard() -> None:
        return None

    app.add_url_rule("/hooked", "hooked", lambda: request.path)
    assert ask(app.test_client(), None, "/hooked").status_code == 401
    assert ask(app.test_client(), mint(), "/hooked").text == "/hooked"


def test_answers_after_a_refusal_pass_the_apps_own_hooks(app: Notes) -> None:
    """A service adds its CORS headers to refusals too."""

    @app.after_request
    def allow(answer: Response) -> Response:
        answer.headers["Access-Control-Allow-Origin"] = "https://app.example"
        return answer

    assert "Access-Control-Allow-Origin" in ask(app.test_client(), None).headers


def test_an_answer_to_a_url_with_a_token_stays_out_of_shared_caches(
    app: Notes, keys: JWKSet, mint: Mint
) -> None:
    """RFC 6750 section 2.3."""
    bearer = Bearer(ISSUER, "notes", keys=[keys], clock=Clock(), locations=("header", "query"))
    app.add_url_rule("/by-url", "by_url", bearer.required()(lambda: "ok"))
    answer = app.test_client().get(f"/by-url?access_token={mint()}")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private")
