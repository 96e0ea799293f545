"""Each kind of token is bound to its purpose: one is nothing in another's place."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import links
from app.db import db
from app.sessions import LoginSession
from tests.conftest import find_user
from tests.sessions.conftest import (
    COOKIE,
    SESSION_ENDED,
    Program,
    log_in_for_cookie,
    refresh,
    refusal,
    sign_program_in,
    token_by_cookie,
)
from tests.support import claims_of, get


@pytest.fixture
def kinds(app: Flask, client: FlaskClient, program: Program) -> dict[str, str]:
    """A good one of each kind, all Alice's."""
    log_in_for_cookie(client, "alice@example.com")
    held = client.get_cookie(COOKIE)
    assert held is not None
    with app.app_context():
        user = find_user(app, "alice@example.com")
        made = {"reset": links.make(links.RESET, user), "setup": links.make(links.SETUP)}
    return {
        "refresh": program.first.refresh,
        "access": program.first.access,
        "cookie": held.value,
        "session": program.session_id,
        **made,
    }


@pytest.mark.parametrize("kind", ["access", "cookie", "session", "reset", "setup"])
def test_only_a_refresh_token_refreshes(app: Flask, kinds: dict[str, str], kind: str) -> None:
    """Each kind is bound to its purpose; an access token is too long even."""
    assert refresh(app.test_client(), kinds[kind]).status_code in (401, 422)


@pytest.mark.parametrize("kind", ["refresh", "access", "session", "reset", "setup"])
def test_only_the_cookie_is_a_cookie(app: Flask, kinds: dict[str, str], kind: str) -> None:
    """What a program holds signs no browser in."""
    browser = app.test_client()
    browser.set_cookie(COOKIE, kinds[kind])
    assert refusal(token_by_cookie(browser)) == SESSION_ENDED


@pytest.mark.parametrize("kind", ["refresh", "cookie", "session", "reset", "setup"])
def test_only_an_access_token_opens_the_api(app: Flask, kinds: dict[str, str], kind: str) -> None:
    """The long-lived secrets open nothing but their own door."""
    assert get(app.test_client(), "/api/me", kinds[kind]).status_code == 401


@pytest.mark.parametrize("page", ["reset", "setup"])
@pytest.mark.parametrize("kind", ["refresh", "access", "cookie", "session", "reset", "setup"])
def test_only_a_link_is_a_link(app: Flask, kinds: dict[str, str], page: str, kind: str) -> None:
    """Nor is one link good for another purpose."""
    answer = get(app.test_client(), f"/{page}?token={kinds[kind]}")
    assert answer.status_code == (200 if page == kind else 404)


def test_trying_a_token_in_a_wrong_place_does_not_hurt_it(
    app: Flask, client: FlaskClient, program: Program
) -> None:
    """It still does what it is for."""
    get(client, "/api/me", program.first.refresh)
    refresh(client, program.first.access)
    assert refresh(client, program.first.refresh).status_code == 200


def test_a_cookie_session_has_no_refresh_token(app: Flask, client: FlaskClient, alice: str) -> None:
    """A browser's only secret is its cookie, which no script can read."""
    answer = log_in_for_cookie(client, alice)
    assert "refresh_token" not in answer.get_json()
    with app.app_context():
        [session] = db.session.query(LoginSession)
        assert session.refresh_hash is None


def test_another_users_token_is_another_users(app: Flask, alice: str, bob: str) -> None:
    """Each pair belongs to the one who signed in."""
    hers, his = (sign_program_in(app, email) for email in (alice, bob))
    claims = claims_of(his.refresh(his.first.refresh, 60).access)
    assert (
        claims["sub"] == claims_of(his.first.access)["sub"] != claims_of(hers.first.access)["sub"]
    )
