"""What tokens of a session may be for: they shrink and come back, and never grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import services, users
from app.tokens import Wish
from tests.conftest import MakeApp, add_service, add_user, find_user, on_both_databases
from tests.sessions.conftest import HOUR, Program, refresh, refusal, sign_program_in
from tests.support import ORIGIN, SOMEWHERE, claims_of, get, log_in

SERVICES = "notes:read notes:write"


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """A house with two services besides."""
    app = make_app()
    add_service(app, "billing")
    return app


def remove_service(app: Flask, name: str) -> None:
    """As the operator does."""
    with app.app_context():
        service = services.by_name(name)
        assert service is not None
        services.remove(service, SOMEWHERE)


def trade(client: FlaskClient, answer: dict[str, Any], **wish: Any) -> dict[str, Any]:
    """Refresh; gives the next answer."""
    got = refresh(client, answer["refresh_token"], **wish)
    assert got.status_code == 200, got.text
    return dict(got.get_json())


@on_both_databases
def test_scopes_shrink_and_come_back(client: FlaskClient, alice: str) -> None:
    """A wish is for one access token."""
    first = log_in(client, alice).get_json()
    second = trade(client, first, scope="notes:read")
    third = trade(client, second)
    assert [answer["scope"] for answer in (first, second, third)] == [
        SERVICES,
        "notes:read",
        SERVICES,
    ]
    assert claims_of(second["access_token"])["scope"] == "notes:read"


@on_both_databases
def test_audiences_shrink_and_come_back(client: FlaskClient, alice: str) -> None:
    """The order stays that of the services."""
    first = log_in(client, alice).get_json()
    second = trade(client, first, audience="billing")
    third = trade(client, second)
    audiences = [claims_of(answer["access_token"])["aud"] for answer in (first, second, third)]
    assert audiences == [[ORIGIN, "notes", "billing"], ["billing"], [ORIGIN, "notes", "billing"]]


def test_own_scopes_come_with_a_token_for_this_service_alone(
    client: FlaskClient, alice: str
) -> None:
    """A program that signed in for everything may ask for them at any refresh."""
    first = log_in(client, alice).get_json()
    assert trade(client, first, audience=ORIGIN)["scope"] == "account"


MORE: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"audience": "notes"}, {"audience": "billing"}, "invalid_target"),
    ({"audience": "notes"}, {"audience": ORIGIN}, "invalid_target"),
    ({"audience": "notes"}, {"audience": ["notes", "billing"]}, "invalid_target"),
    ({"audience": ["notes", "billing"]}, {"audience": ORIGIN}, "invalid_target"),
    ({"scope": "notes:read"}, {"scope": "notes:write"}, "invalid_scope"),
    ({"scope": "notes:read"}, {"scope": "notes:read notes:write"}, "invalid_scope"),
    ({"scope": "notes:read"}, {"scope": "account", "audience": ORIGIN}, "invalid_scope"),
    ({"scope": ""}, {"scope": "notes:read"}, "invalid_scope"),
    ({}, {"scope": "account"}, "invalid_scope"),
    ({}, {"scope": "admin", "audience": ORIGIN}, "invalid_scope"),
    ({}, {"audience": "unheard-of"}, "invalid_target"),
    ({}, {"audience": []}, "invalid_target"),
]


@on_both_databases
@pytest.mark.parametrize(("granted", "wished", "code"), MORE, ids=str)
def test_more_than_was_granted_is_refused_and_keeps_the_token(
    client: FlaskClient, alice: str, granted: dict[str, Any], wished: dict[str, Any], code: str
) -> None:
    """A refused wish does not use the token up: it is as if nobody had asked."""
    first = log_in(client, alice, **granted).get_json()
    assert refusal(refresh(client, first["refresh_token"], **wished)) == (400, code)
    assert trade(client, first)["scope"] == first["scope"]


@pytest.mark.parametrize("granted", [{"audience": "notes"}, {"scope": "notes:read"}], ids=str)
def test_a_narrow_login_stays_narrow(
    client: FlaskClient, alice: str, granted: dict[str, Any]
) -> None:
    """Refreshing without a wish gives what the login gave, time after time."""
    first = log_in(client, alice, **granted).get_json()
    third = trade(client, trade(client, first))
    old, new = (claims_of(answer["access_token"]) for answer in (first, third))
    assert (new["aud"], new["scope"]) == (old["aud"], old["scope"])


def test_a_narrow_scope_does_not_widen_with_the_audience(client: FlaskClient, alice: str) -> None:
    """A login for `notes:read` never gets at the account."""
    first = log_in(client, alice, scope="notes:read").get_json()
    assert trade(client, first, audience=ORIGIN)["scope"] == ""
    assert trade(client, log_in(client, alice, scope="notes:read").get_json())["scope"] == (
        "notes:read"
    )


def test_an_unknown_audience_is_refused_with_the_known_ones(
    client: FlaskClient, alice: str
) -> None:
    """Those that this session may have (RFC 8707 section 2)."""
    token = log_in(client, alice, audience=["notes", ORIGIN]).get_json()["refresh_token"]
    detail = refresh(client, token, audience="unheard-of").get_json()["detail"]
    assert f"{ORIGIN}, notes." in detail
    assert "billing" not in detail


def test_the_time_of_the_sign_in_survives(program: Program) -> None:
    """`auth_time` is when the person proved who they are, not when a program came by."""
    second = program.refresh(program.first.refresh, HOUR)
    third = program.refresh(second.refresh, 2 * HOUR)
    times = {claims_of(pair.access)["auth_time"] for pair in (program.first, second, third)}
    assert times == {int(program.began.timestamp())}
    assert claims_of(third.access)["iat"] == int(program.began.timestamp()) + 2 * HOUR


# What the user may, changes


@pytest.fixture
def root(app: Flask) -> str:
    """An administrator who may read reports, too."""
    return add_user(app, "root@example.com", "admin", "reports:read")


def set_scopes(app: Flask, email: str, *scopes: str) -> None:
    with app.app_context():
        users.set_scopes(find_user(app, email), scopes, SOMEWHERE)


@on_both_databases
def test_a_scope_that_the_user_lost_is_gone_at_the_next_refresh(app: Flask, root: str) -> None:
    """Without a word where it was not asked for."""
    program = sign_program_in(app, root, Wish([ORIGIN]))
    assert "admin" in claims_of(program.first.access)["scope"]
    set_scopes(app, root, "reports:read")
    pair = program.refresh(program.first.refresh, 60)
    assert claims_of(pair.access)["scope"] == "account reports:read"


def test_a_scope_that_the_user_lost_cannot_be_asked_for(app: Flask, root: str) -> None:
    """Even where the login had asked for it by name."""
    program = sign_program_in(app, root, Wish([ORIGIN], ["admin", "account"]))
    set_scopes(app, root)
    wish = Wish([ORIGIN], ["admin"])
    assert program.refusal(program.first.refresh, 60, wish=wish) == "invalid_scope"
    assert claims_of(program.refresh(program.first.refresh, 61).access)["scope"] == "account"


def test_a_scope_that_the_user_got_later_does_not_widen_a_narrow_login(
    app: Flask, alice: str
) -> None:
    """What was asked for by name is all there is."""
    program = sign_program_in(app, alice, Wish([ORIGIN], ["account"]))
    set_scopes(app, alice, "admin")
    assert claims_of(program.refresh(program.first.refresh, 60).access)["scope"] == "account"


def test_a_service_that_is_gone_is_gone_from_the_tokens(app: Flask, alice: str) -> None:
    """The operator removes it; sessions go on with the rest."""
    program = sign_program_in(app, alice)
    remove_service(app, "billing")
    pair = program.refresh(program.first.refresh, 60)
    assert claims_of(pair.access)["aud"] == [ORIGIN, "notes"]


def test_a_service_that_came_later_does_not_widen_a_narrow_login(app: Flask, alice: str) -> None:
    """Nor does one that takes the place of another."""
    program = sign_program_in(app, alice, Wish(["notes"]))
    remove_service(app, "billing")
    add_service(app, "wages")
    assert claims_of(program.refresh(program.first.refresh, 60).access)["aud"] == ["notes"]


# A hook that fails

FAILING: list[Exception] = []


def hook(user: Mapping[str, Any]) -> dict[str, Any]:
    """The operator's own code, which fails while there is something in `FAILING`."""
    for error in FAILING:
        raise error
    return {"team": "blue"}


@pytest.fixture
def hooked(make_app: MakeApp) -> FlaskClient:
    """A way in to a house with that hook."""
    return make_app(FOXTROT_CLAIMS_HOOK=f"{__name__}:hook").test_client()


@on_both_databases
def test_a_hook_that_fails_loses_nothing(
    hooked: FlaskClient, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is as good as before, and good again once the hook is."""
    first = log_in(hooked, alice).get_json()
    with monkeypatch.context() as failing:
        failing.setattr(f"{__name__}.FAILING", [RuntimeError("the directory is away")])
        assert refresh(hooked, first["refresh_token"]).status_code == 500
    answer = trade(hooked, first)
    assert claims_of(answer["access_token"])["team"] == "blue"
    assert get(hooked, "/api/me", answer["access_token"]).status_code == 200


def test_a_hook_that_fails_begins_no_session(
    hooked: FlaskClient, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the login nothing is left behind either."""
    with monkeypatch.context() as failing:
        failing.setattr(f"{__name__}.FAILING", [RuntimeError("the directory is away")])
        assert log_in(hooked, alice).status_code == 500
    token = log_in(hooked, alice).get_json()["access_token"]
    assert len(get(hooked, "/api/sessions", token).get_json()["sessions"]) == 1
