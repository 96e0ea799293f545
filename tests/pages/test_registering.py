"""The page on which people make an account."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import users
from tests.conftest import MakeApp, find_user
from tests.pages.conftest import (
    NEW_PASSWORD,
    PUBLIC,
    Page,
    lead_to,
    setup_secret,
)
from tests.support import PASSWORD, get, submit


def test_who_registers_is_signed_in(client: FlaskClient) -> None:
    """And lands on the account page."""
    answer = submit(client, "/register", email="dave@example.com", password=PASSWORD)
    assert lead_to(answer) == "/account"
    assert "dave@example.com" in get(client, "/account").text


def test_a_taken_address_is_a_conflict(client: FlaskClient, alice: str) -> None:
    """The form is shown again, with the address in it."""
    answer = submit(client, "/register", email=alice, password=NEW_PASSWORD)
    assert answer.status_code == 409
    assert Page(answer.text).field("email")["value"] == alice


@pytest.mark.parametrize(
    ("email", "password", "field"),
    [
        ("no address", PASSWORD, "email"),
        ("", PASSWORD, "email"),
        ("a\0b@example.com", PASSWORD, "email"),
        ("a@example.com\r\nBcc: b@example.com", PASSWORD, "email"),
        ("dave@example.com", "short", "password"),
        ("dave@example.com", "", "password"),
        ("dave@example.com", "passwordpassword", "password"),
        ("dave@example.com", PASSWORD + "\0", "password"),
        ("dave@example.com", "x" * 2000, "password"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    client: FlaskClient, email: str, password: str, field: str
) -> None:
    """Status 422; the field is marked and points to the words that say why."""
    answer = submit(client, "/register", email=email, password=password)
    marked = Page(answer.text).field(field)
    assert answer.status_code == 422
    assert marked["aria-invalid"] == "true"
    assert f"{field}-wrong" in (marked["aria-describedby"] or "").split()
    assert f'id="{field}-wrong"' in answer.text


def test_a_bad_address_and_a_bad_password_are_reported_at_once(client: FlaskClient) -> None:
    """Nobody mends the one only to hear of the other."""
    page = Page(submit(client, "/register", email="bad", password="short").text)
    assert page.field("email")["aria-invalid"] == "true"
    assert page.field("password")["aria-invalid"] == "true"


def test_a_setup_reports_all_that_is_wrong_at_once(app: Flask, client: FlaskClient) -> None:
    """Like a registration."""
    fields = {"token": setup_secret(app), "email": "bad", "password": "short"}
    page = Page(submit(client, "/setup", **fields).text)
    assert page.field("email")["aria-invalid"] == "true"
    assert page.field("password")["aria-invalid"] == "true"


def test_only_the_first_wrong_field_asks_for_the_focus(client: FlaskClient) -> None:
    """Two would leave it to the browser."""
    for email, password in [("bad", PASSWORD), ("d@example.com", "short"), ("bad", "short")]:
        page = Page(submit(client, "/register", email=email, password=password).text)
        focused = [field for field in page.all("input") if "autofocus" in field]
        assert len(focused) == 1
        assert focused[0].get("aria-invalid") == "true"


def test_a_form_without_its_fields_is_refused_politely(client: FlaskClient) -> None:
    """Missing is like empty, and never a failure of the service."""
    assert submit(client, "/login").status_code == 401
    assert submit(client, "/register").status_code == 422
    assert submit(client, "/setup").status_code == 404
    assert submit(client, "/reset").status_code == 404


def test_a_new_password_is_never_echoed(client: FlaskClient) -> None:
    """Whatever else was wrong."""
    answer = submit(client, "/register", email="bad", password=NEW_PASSWORD)
    assert NEW_PASSWORD not in answer.text


def test_registration_is_open_on_this_machine_and_closed_in_public(
    client: FlaskClient, on_https: Flask
) -> None:
    """Unless the operator says otherwise."""
    assert get(client, "/register").status_code == 200
    assert on_https.test_client().get("/register", base_url=PUBLIC).status_code == 403


@pytest.fixture
def closed(make_app: MakeApp) -> Flask:
    """The service of an operator who makes the accounts."""
    return make_app(FOXTROT_REGISTRATION="closed")


def test_a_closed_registration_shows_no_form(closed: Flask) -> None:
    """It says whom to ask."""
    answer = get(closed.test_client(), "/register")
    assert answer.status_code == 403
    assert "administrator" in answer.text
    assert Page(answer.text).all("form") == []


def test_a_closed_registration_makes_no_account(closed: Flask) -> None:
    """Whoever sends the form all the same."""
    fields = {"email": "mallory@example.com", "password": PASSWORD}
    answer = submit(closed.test_client(), "/register", **fields)
    assert answer.status_code == 403
    with closed.app_context():
        assert users.by_email("mallory@example.com") is None


def test_a_closed_registration_is_not_offered(closed: Flask) -> None:
    """The sign-in page has no link to it."""
    page = Page(get(closed.test_client(), "/login").text)
    assert all("/register" not in (link["href"] or "") for link in page.all("a"))


def test_nobody_registers_as_more_than_a_user(app: Flask, client: FlaskClient) -> None:
    """Further fields of the form count for nothing."""
    more = {"scopes": "admin", "own_scopes": "admin", "is_admin": "1", "id": "1"}
    submit(client, "/register", email="mallory@example.com", password=PASSWORD, **more)
    with app.app_context():
        assert "admin" not in find_user(app, "mallory@example.com").scopes
