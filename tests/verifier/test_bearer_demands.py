"""What a route may ask of a token besides all of some scopes (RFC 6750, RFC 9470)."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from foxtrot import JWKSet, Token
from foxtrot.errors import StaleStatus
from foxtrot.flask import Bearer
from tests.verifier.minting import ABSENT, AUDIENCE, ISSUER, NOW, Clock, Mint
from tests.verifier.service import CHALLENGE, Notes, ask


@pytest.fixture
def client(app: Notes, bearer: Bearer) -> FlaskClient:
    """The notes service with routes that ask for more."""
    routes = {
        "/any": bearer.required(any_of=("notes:read", "admin")),
        "/all-and-any": bearer.required("notes:write", any_of=["audit", "admin"]),
        "/fresh": bearer.required("notes:read", max_age=300),
        "/maybe-fresh": bearer.optional(any_of=("notes:read", "admin"), max_age=300),
        "/any-fresh": bearer.required(any_of=("audit", "admin"), max_age=300),
    }
    for path, guard in routes.items():
        app.add_url_rule(path, path[1:], guard(app.who))
    return app.test_client()


# One of several scopes


@pytest.mark.parametrize("scope", ["notes:read", "admin", "notes:read admin", "x admin"])
def test_one_of_several_scopes_is_enough(scope: str, client: FlaskClient, mint: Mint) -> None:
    """Whichever it is."""
    assert ask(client, mint({"scope": scope}), "/any").status_code == 200


@pytest.mark.parametrize("scope", ["", ABSENT, "notes:write", "notes:reads", "ADMIN"])
def test_none_of_several_scopes_is_403(
    scope: object, client: FlaskClient, app: Notes, mint: Mint
) -> None:
    """The view does not run."""
    answer = ask(client, mint({"scope": scope}), "/any")
    assert (answer.status_code, answer.get_json()["code"]) == (403, "insufficient_scope")
    assert app.calls == []


def test_the_challenge_names_scopes_that_are_enough(client: FlaskClient, mint: Mint) -> None:
    """RFC 6750 section 3: a token with those of `scope` passes; the least that does."""
    answer = ask(client, mint({"scope": "notes:read"}), "/all-and-any")
    assert answer.headers["WWW-Authenticate"].endswith('scope="audit notes:write"')
    assert answer.get_json()["scope"] == "audit notes:write"
    assert "notes:write and one of audit, admin" in answer.get_json()["detail"]
    assert ask(client, mint({"scope": "audit notes:write"}), "/all-and-any").status_code == 200


def test_the_challenge_keeps_the_choice_that_the_token_made(
    client: FlaskClient, mint: Mint
) -> None:
    """Who has one of several need not ask for another."""
    answer = ask(client, mint({"scope": "admin"}), "/all-and-any")
    assert answer.get_json()["scope"] == "admin notes:write"


@pytest.mark.parametrize("scope", ["notes:write", "audit", "admin", "audit admin"])
def test_all_and_one_of_several_means_both(scope: str, client: FlaskClient, mint: Mint) -> None:
    """Neither stands for the other."""
    assert ask(client, mint({"scope": scope}), "/all-and-any").status_code == 403


def test_any_of_counts_what_the_service_grants(keys: JWKSet, mint: Mint) -> None:
    """`scopes_of` decides about these scopes too."""
    bearer = Bearer(ISSUER, AUDIENCE, keys=[keys], clock=Clock(), scopes_of=lambda token: ["admin"])
    app = Notes(bearer)
    app.add_url_rule("/any", "any", bearer.required(any_of=("notes:read",))(app.who))
    assert ask(app.test_client(), mint({"scope": "notes:read"}), "/any").status_code == 403


# A recent sign-in


def step_up(client: FlaskClient, mint: Mint, auth_time: object) -> TestResponse:
    return ask(client, mint({"auth_time": auth_time}), "/fresh")


@pytest.mark.parametrize("age", [0, 1, 300, 330, -30])
def test_a_recent_sign_in_lets_through(age: int, client: FlaskClient, mint: Mint) -> None:
    """To the second, with the leeway for clocks that disagree."""
    assert step_up(client, mint, NOW - age).status_code == 200


@pytest.mark.parametrize("age", [331, 3600, NOW, -31])
def test_an_old_sign_in_is_401(age: int, client: FlaskClient, app: Notes, mint: Mint) -> None:
    """And so is one in the future: no clock is that wrong."""
    answer = step_up(client, mint, NOW - age)
    assert (answer.status_code, answer.get_json()["code"]) == (
        401,
        "insufficient_user_authentication",
    )
    assert app.calls == []


def test_the_challenge_says_how_recent_it_must_be(client: FlaskClient, mint: Mint) -> None:
    """RFC 9470 section 3: `max_age`, in seconds."""
    answer = step_up(client, mint, NOW - 3600)
    problem = answer.get_json()
    assert answer.headers.getlist("WWW-Authenticate") == [
        f'{CHALLENGE}, error="insufficient_user_authentication",'
        f' error_description="{problem["detail"]}", max_age="300"'
    ]
    assert problem["max_age"] == 300
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_token_of_no_sign_in_is_not_recent(client: FlaskClient, mint: Mint) -> None:
    """A machine's token has no `auth_time`, and nobody behind it who could sign in."""
    assert step_up(client, mint, ABSENT).status_code == 401


def test_a_sign_in_grows_old_while_its_token_is_good(keys: JWKSet, mint: Mint) -> None:
    """A token that was seen before is asked again every time."""
    clock = Clock()
    bearer = Bearer(ISSUER, AUDIENCE, keys=[keys], clock=clock, leeway=0)
    app = Notes(bearer)
    app.add_url_rule("/fresh", "fresh", bearer.required(max_age=300)(app.who))
    client, token = app.test_client(), mint()
    assert ask(client, token, "/fresh").status_code == 200
    clock.advance(301)
    assert ask(client, token, "/fresh").status_code == 401
    assert ask(client, token, "/notes").status_code == 200


def test_who_lacks_the_scope_is_not_asked_to_sign_in_again(client: FlaskClient, mint: Mint) -> None:
    """It would be in vain."""
    old = {"auth_time": NOW - 3600, "scope": ""}
    assert ask(client, mint(old), "/fresh").status_code == 403
    assert ask(client, mint(old), "/any-fresh").status_code == 403


def test_where_a_token_is_optional_the_same_is_asked_of_it(client: FlaskClient, mint: Mint) -> None:
    """Nobody passes, somebody must be up to it."""
    assert ask(client, None, "/maybe-fresh").get_json() == {"subject": None}
    assert ask(client, mint(), "/maybe-fresh").get_json() == {"subject": "u_alice"}
    assert ask(client, mint({"auth_time": NOW - 3600}), "/maybe-fresh").status_code == 401
    assert ask(client, mint({"scope": "x"}), "/maybe-fresh").status_code == 403


# Routes for which not knowing is not enough


class Stale:
    """A status that cannot say anything at the moment."""

    def ended(self, token: Token) -> bool:
        raise StaleStatus("The status list is old.")


def test_a_route_says_what_happens_while_the_status_is_stale(keys: JWKSet, mint: Mint) -> None:
    """`deny` is 503, `allow` lets through; without a word it is the verifier's own setting."""
    bearer = Bearer(ISSUER, AUDIENCE, keys=[keys], clock=Clock(), status=Stale())
    app = Notes(bearer)
    app.add_url_rule("/deny", "deny", bearer.required(on_stale="deny")(app.who))
    app.add_url_rule("/allow", "allow", bearer.optional(on_stale="allow")(app.who))
    client, token = app.test_client(), mint()
    answers = [ask(client, token, path).status_code for path in ("/deny", "/allow", "/notes")]
    assert answers == [503, 200, 200]
