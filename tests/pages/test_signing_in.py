"""The sign-in page: the way in, what a refusal says, and the way out."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import MakeApp
from tests.pages.conftest import (
    COOKIE,
    Page,
    lead_to,
    sign_in,
)
from tests.support import PASSWORD, get, submit

HOSTILE = "<b>x</b>\"'><script>alert(1)</script>@example.com"


# The way in


def test_the_start_leads_a_stranger_to_the_sign_in_page(client: FlaskClient) -> None:
    """The root has no page of its own."""
    assert lead_to(get(client, "/")) == "/login"


def test_the_start_leads_somebody_signed_in_to_their_account(
    client: FlaskClient, alice: str
) -> None:
    """Nobody who is signed in is asked to sign in."""
    sign_in(client, alice)
    assert lead_to(get(client, "/")) == "/account"


def test_the_right_password_leads_to_the_account(client: FlaskClient, alice: str) -> None:
    """The account page says who is signed in."""
    assert lead_to(sign_in(client, alice)) == "/account"
    assert alice in get(client, "/account").text


def test_the_sign_in_page_leads_on_who_is_signed_in(client: FlaskClient, alice: str) -> None:
    """The form is not shown a second time."""
    sign_in(client, alice)
    assert lead_to(get(client, "/login")) == "/account"
    assert lead_to(get(client, "/login?next=/docs")) == "/docs"


def test_the_account_page_leads_a_stranger_to_the_sign_in_page(client: FlaskClient) -> None:
    """And the way back is kept in `next`."""
    location = urlsplit(lead_to(get(client, "/account?tab=1")))
    assert location.path == "/login"
    assert parse_qs(location.query) == {"next": ["/account?tab=1"]}


def test_next_survives_a_wrong_password(client: FlaskClient, alice: str) -> None:
    """The form that is shown again still knows where to go."""
    answer = sign_in(client, alice, "wrong", next="/docs")
    assert Page(answer.text).field("next")["value"] == "/docs"


def test_next_goes_along_from_the_sign_in_page_to_the_registration(client: FlaskClient) -> None:
    """Who came for something gets it after making an account, too."""
    hrefs = [link.get("href") for link in Page(get(client, "/login?next=/docs").text).all("a")]
    assert "/register?next=/docs" in hrefs


# A refused sign-in


def test_a_wrong_password_shows_the_form_again(client: FlaskClient, alice: str) -> None:
    """With status 401, and an alert that says so."""
    answer = sign_in(client, alice, "wrong")
    assert answer.status_code == 401
    assert {"class": "refusal", "role": "alert"} in Page(answer.text).all("div")


def test_a_refused_sign_in_keeps_the_typed_address(client: FlaskClient, alice: str) -> None:
    """Only the password has to be typed again."""
    page = Page(sign_in(client, alice, "wrong").text)
    assert page.field("email")["value"] == alice
    assert "value" not in page.field("password")


def test_a_refused_sign_in_never_echoes_the_password(client: FlaskClient, alice: str) -> None:
    """It would end up in caches and logs."""
    assert "wr0ng-password-here" not in sign_in(client, alice, "wr0ng-password-here").text


def test_a_refused_sign_in_names_the_scheme_of_the_api(client: FlaskClient, alice: str) -> None:
    """Every 401 carries a challenge (RFC 9110 section 15.5.2) with a realm (RFC 6750 section 3)."""
    challenge = sign_in(client, alice, "wrong").headers.get("WWW-Authenticate", "")
    assert re.match(r'Bearer realm="[^"]+"', challenge)


@pytest.mark.parametrize("path", ["/login", "/register"])
def test_a_hostile_address_is_escaped(client: FlaskClient, path: str) -> None:
    """What was typed comes back as text, whatever it is."""
    answer = submit(client, path, email=HOSTILE, password="wrong")
    assert Page(answer.text).field("email")["value"] == HOSTILE
    assert "<script>alert" not in answer.text
    assert "<b>x" not in answer.text


def test_a_hostile_next_is_escaped(client: FlaskClient) -> None:
    """A path may have quotes in it; the page keeps them inside the attribute."""
    target = "/docs?q=\"'><script>alert(1)</script>"
    answer = get(client, f"/login?next={quote(target)}")
    assert Page(answer.text).field("next")["value"] == target
    assert "<script>alert" not in answer.text


def test_a_hostile_site_name_is_escaped(make_app: MakeApp) -> None:
    """The operator's text is text, too."""
    client = make_app(FOXTROT_SITE_NAME="<i>R&D</i>").test_client()
    assert "<i>" not in get(client, "/login").text


def refused(app: Flask, email: str, password: str) -> tuple[int, str, list[tuple[str, str]]]:
    """What a refusal consists of: status, page without the echoed address, headers."""
    answer = sign_in(app.test_client(), email, password)
    del answer.headers["X-Request-ID"]
    return answer.status_code, answer.text.replace(email, "EMAIL"), answer.headers.to_wsgi_list()


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("nobod@example.com", PASSWORD),
        ("carol@example.com", PASSWORD),
        ("carol@example.com", "wrong"),
        ("nobod@example.com", ""),
        ("nobod@example.com", "abc\0def"),
    ],
    ids=["unknown", "disabled", "disabled, wrong", "unknown, empty", "unknown, NUL"],
)
def test_refused_sign_ins_look_alike(
    app: Flask, alice: str, disabled: str, email: str, password: str
) -> None:
    """Nobody learns from status, page or headers which addresses have an account."""
    assert refused(app, email, password) == refused(app, alice, "wrong")


# Signing out


def test_signing_out_leads_to_the_sign_in_page(client: FlaskClient, alice: str) -> None:
    """And the account is closed to this browser."""
    sign_in(client, alice)
    assert lead_to(submit(client, "/logout")) == "/login"
    assert lead_to(get(client, "/account")).startswith("/login")


def test_signing_out_takes_the_cookie_away(client: FlaskClient, alice: str) -> None:
    """With the attributes it was set with, or a browser would keep it."""
    sign_in(client, alice)
    header = submit(client, "/logout").headers["Set-Cookie"]
    assert client.get_cookie(COOKIE) is None
    assert {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=0"} <= set(header.split("; "))


def test_signing_out_twice_is_harmless(client: FlaskClient, alice: str) -> None:
    """The second tab's button works as well."""
    sign_in(client, alice)
    submit(client, "/logout")
    assert lead_to(submit(client, "/logout")) == "/login"


def test_signing_out_needs_a_post(client: FlaskClient, alice: str) -> None:
    """A link or an image cannot sign anybody out."""
    sign_in(client, alice)
    answer = get(client, "/logout", headers={"Accept": "text/html"})
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert get(client, "/account").status_code == 200
