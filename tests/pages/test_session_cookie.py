"""The cookie of a signed-in browser, and the identifier in it."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import users
from tests.conftest import add_user, begin_session, find_user
from tests.pages.conftest import (
    COOKIE,
    PUBLIC,
    cookie,
    is_signed_in,
    sign_in,
)
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, get, submit

# The identifier of the session


def test_each_sign_in_gives_another_identifier(app: Flask, alice: str) -> None:
    """Nothing is derived from the user."""
    clients = [app.test_client(), app.test_client()]
    for client in clients:
        sign_in(client, alice)
    assert len({cookie(client) for client in clients}) == 2


def test_signing_in_ends_the_session_before_it(app: Flask, alice: str, bob: str) -> None:
    """The identifier changes, and the old one opens nothing."""
    client = app.test_client()
    sign_in(client, alice)
    before = cookie(client)
    sign_in(client, bob)
    assert cookie(client) != before
    assert not is_signed_in(app, before)
    assert is_signed_in(app, cookie(client))


def test_an_identifier_that_was_planted_is_not_adopted(app: Flask, alice: str) -> None:
    """Session fixation: Mallory knows a cookie that Alice's browser sends."""
    client = app.test_client()
    client.set_cookie(COOKIE, "chosen-by-mallory")
    sign_in(client, alice)
    assert cookie(client) != "chosen-by-mallory"
    assert not is_signed_in(app, "chosen-by-mallory")


def test_the_identifier_is_dead_after_signing_out(app: Flask, alice: str) -> None:
    """Who kept the cookie has nothing."""
    client = app.test_client()
    sign_in(client, alice)
    kept = cookie(client)
    submit(client, "/logout")
    assert not is_signed_in(app, kept)


def test_signing_out_leaves_other_browsers_signed_in(app: Flask, alice: str) -> None:
    """Each sign-in is a session of its own."""
    laptop, phone = app.test_client(), app.test_client()
    sign_in(laptop, alice)
    sign_in(phone, alice)
    submit(phone, "/logout")
    assert get(laptop, "/account").status_code == 200


def test_a_wrong_password_leaves_the_session_as_it_was(client: FlaskClient, alice: str) -> None:
    """Nobody is signed out by a slip."""
    sign_in(client, alice)
    sign_in(client, alice, "wrong")
    assert get(client, "/account").status_code == 200


def test_disabling_a_user_closes_the_account_page_at_once(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """The cookie is looked up with each request."""
    sign_in(client, alice)
    with app.app_context():
        users.disable(find_user(app, alice), SOMEWHERE)
    assert get(client, "/account").status_code == 303


@pytest.mark.parametrize("value", ["x", "é", "a" * 5000, "%00", '"', "a b"])
def test_a_senseless_cookie_is_no_session(client: FlaskClient, value: str) -> None:
    """Nor is it an error."""
    answer = client.get("/account", headers={"Cookie": f"{COOKIE}={value}"}, base_url=ORIGIN)
    assert answer.status_code == 303


# The cookie


def set_cookies(app: Flask, origin: str) -> list[str]:
    """All `Set-Cookie` headers of signing in, making an account and signing out."""
    email = add_user(app, "dave@example.com")
    client = app.test_client()
    fields = {"email": email, "password": PASSWORD}
    answers = [
        client.post(path, data=fields, headers={"Origin": origin}, base_url=origin)
        for path in ("/login", "/logout")
    ]
    return [header for answer in answers for header in answer.headers.getlist("Set-Cookie")]


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(app: Flask) -> None:
    """`HttpOnly` and `SameSite=Lax`, for the whole site and for no other host."""
    for header in set_cookies(app, ORIGIN):
        name, *attributes = header.split("; ")
        assert name.startswith((f"{COOKIE}=", "foxtrot_device=", "foxtrot_done="))
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
        assert "Domain" not in header


def test_on_plain_http_the_cookie_is_not_secure(app: Flask) -> None:
    """A browser would drop it on `http://localhost`, and nobody could sign in."""
    for header in set_cookies(app, ORIGIN):
        assert "Secure" not in header.split("; ")
        assert not header.startswith("__")


def test_on_https_the_cookie_is_bound_to_the_host(on_https: Flask) -> None:
    """`__Host-` demands Secure, the path `/` and no domain; also when it is taken away."""
    headers = set_cookies(on_https, PUBLIC)
    assert len(headers) == 4
    for header in headers:
        name, *attributes = header.split("; ")
        assert name.startswith(
            tuple(f"__Host-{one}=" for one in (COOKIE, "foxtrot_device", "foxtrot_done"))
        )
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
        assert "Domain" not in header


def test_on_https_the_account_opens_by_that_cookie(on_https: Flask) -> None:
    """The cookie that is set is the one that is read."""
    client = on_https.test_client()
    fields = {"email": add_user(on_https, "alice@example.com"), "password": PASSWORD}
    client.post("/login", data=fields, headers={"Origin": PUBLIC}, base_url=PUBLIC)
    assert client.get("/account", base_url=PUBLIC).status_code == 200


def test_on_https_a_cookie_without_the_prefix_is_ignored(on_https: Flask) -> None:
    """A neighbour's site could have planted it."""
    client = on_https.test_client()
    with on_https.app_context():
        user = users.create("alice@example.com", PASSWORD, SOMEWHERE)
        _, secret = begin_session(user)
    header = {"Cookie": f"{COOKIE}={secret}"}
    assert client.get("/account", headers=header, base_url=PUBLIC).status_code == 303


def test_the_cookie_is_small(app: Flask) -> None:
    """Browsers drop cookies over 4 KB."""
    assert max(map(len, set_cookies(app, ORIGIN))) < 4096


def test_the_cookie_says_nothing(client: FlaskClient, alice: str) -> None:
    """256 random bits: nothing of the user can be read from it."""
    sign_in(client, alice)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", cookie(client))


def test_there_is_one_cookie_and_strangers_get_none(client: FlaskClient) -> None:
    """Looking around leaves no trace in the browser."""
    for path in ("/", "/login", "/register", "/account", "/docs"):
        assert "Set-Cookie" not in get(client, path).headers
