"""What every page owes to people and their tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import add_user
from tests.pages.conftest import (
    Attributes,
    Page,
    fresh_app,
    reset_secret,
    setup_secret,
    sign_in,
)
from tests.support import ORIGIN, PASSWORD, get, log_in, submit

Visit = Callable[[Flask, FlaskClient], TestResponse]


def _account(app: Flask, client: FlaskClient) -> TestResponse:
    sign_in(client, add_user(app, "alice@example.com"))
    return get(client, "/account")


def _conflict(app: Flask, client: FlaskClient) -> TestResponse:
    email = add_user(app, "alice@example.com")
    return submit(client, "/register", email=email, password=PASSWORD)


def _reset(app: Flask, client: FlaskClient) -> TestResponse:
    token = reset_secret(app, add_user(app, "alice@example.com"))
    return get(client, f"/reset?token={token}")


HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}

PAGES: dict[str, Visit] = {
    "sign in": lambda _, client: get(client, "/login?next=/docs"),
    "sign in, refused": lambda _, client: sign_in(client, "alice@example.com", "wrong"),
    "register": lambda _, client: get(client, "/register"),
    "register, bad address": lambda _, client: submit(client, "/register", email="x", password="y"),
    "register, taken": _conflict,
    "account": _account,
    "setup": lambda app, client: get(client, f"/setup?token={setup_secret(app)}"),
    "reset": _reset,
    "dead link": lambda _, client: get(client, "/setup?token=x"),
    "not found": lambda _, client: get(client, "/nowhere", headers=HTML),
    "wrong method": lambda _, client: get(client, "/logout", headers=HTML),
    "cross-origin": lambda _, client: client.post("/logout", base_url=ORIGIN),
    "wrong host": lambda _, client: client.get("/login", base_url="http://evil.example:5000"),
    "docs": lambda _, client: get(client, "/docs"),
}


@pytest.fixture(scope="module", params=PAGES)
def answer(
    request: pytest.FixtureRequest, template_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestResponse]:
    """The answer that shows one of the pages."""
    with fresh_app(template_dir, tmp_path_factory) as app:
        yield PAGES[request.param](app, app.test_client())


@pytest.fixture(scope="module")
def page(answer: TestResponse) -> Page:
    """The elements of one of the pages."""
    return Page(answer.text)


def inputs(page: Page) -> Iterator[Attributes]:
    """What a person fills in."""
    return (field for field in page.all("input") if "hidden" not in (*field, field.get("type")))


def test_a_page_is_html_in_english_with_a_title(answer: TestResponse, page: Page) -> None:
    """A screen reader begins with these."""
    assert answer.content_type == "text/html; charset=utf-8"
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("title")) == 1
    assert "width=device-width" in str(page.all("meta"))


def test_each_input_has_a_label(page: Page) -> None:
    """One that is seen, not a placeholder that vanishes."""
    labels = {label.get("for") for label in page.all("label")}
    assert all(field["id"] in labels for field in inputs(page))


def test_no_id_is_given_twice(page: Page) -> None:
    """Labels and descriptions find the wrong element otherwise."""
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_what_describes_a_field_is_there(page: Page) -> None:
    """References to nothing are read as nothing."""
    ids = {attributes.get("id") for _, attributes in page.elements}
    for _, attributes in page.elements:
        for name in ("aria-describedby", "aria-labelledby", "for"):
            assert set((attributes.get(name) or "").split()) <= ids


def test_password_managers_are_told_what_each_field_is(page: Page) -> None:
    """The address is the user name; a password is the present one or a new one."""
    allowed = {
        "email": {"username"},
        "password": {"current-password", "new-password"},
        "current_password": {"current-password"},
        "new_password": {"new-password"},
    }
    for field in inputs(page):
        assert field["autocomplete"] in allowed[str(field["name"])]


def test_passwords_are_typed_into_password_fields(page: Page) -> None:
    """Which keep them from shoulders, spelling services and form histories."""
    for field in inputs(page):
        assert ("password" in str(field["name"])) == (field["type"] == "password")
        assert field["type"] != "text"


def test_nothing_keeps_a_password_from_being_pasted(page: Page) -> None:
    """Nor bounds what may be typed to less than what is accepted."""
    for field in inputs(page):
        assert not {"onpaste", "ondrop", "oncopy", "readonly", "pattern"} & field.keys()
        if "password" in str(field["name"]):
            assert "maxlength" not in field


def test_a_page_needs_no_inline_code(page: Page) -> None:
    """Scripts and styles come from files, so that the policy can forbid all others."""
    assert page.inline == []
    assert page.all("style") == []
    for tag, attributes in page.elements:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag


def test_a_page_is_made_of_our_own_files(page: Page) -> None:
    """No font, picture or script comes from elsewhere."""
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "poster"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))
            assert not (attributes.get(name) or "/").startswith("//")


def test_forms_are_sent_by_post(page: Page) -> None:
    """A password in a URL stays in histories and logs."""
    assert all(form.get("method") == "post" for form in page.all("form"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/login", "current-password"), ("/register", "new-password")],
)
def test_a_manager_offers_a_new_password_only_for_a_new_one(
    client: FlaskClient, path: str, expected: str
) -> None:
    """The sign-in page asks for the present password, the registration for a new one."""
    assert Page(get(client, path).text).field("password")["autocomplete"] == expected


@pytest.mark.parametrize("name", ["setup", "reset"])
def test_a_link_leads_to_a_field_for_a_new_password(
    app: Flask, client: FlaskClient, name: str
) -> None:
    """Managers offer to make one."""
    shown = Page(PAGES[name](app, client).text)
    assert shown.field("password")["autocomplete"] == "new-password"


def test_error_pages_lead_back_to_the_start(client: FlaskClient) -> None:
    """Nobody is left at a dead end."""
    shown = get(client, "/nowhere", headers=HTML)
    assert shown.status_code == 404
    assert {"href": "/"} in Page(shown.text).all("a")


def test_an_account_page_shows_nobody_else(app: Flask, alice: str, bob: str) -> None:
    """Bob's page does not know Alice."""
    client = app.test_client()
    sign_in(client, bob)
    assert alice not in get(client, "/account").text


def test_a_sign_in_by_json_opens_no_page(client: FlaskClient, alice: str) -> None:
    """It gives a token and, unasked, no cookie."""
    assert "Set-Cookie" not in log_in(client, alice).headers
    assert get(client, "/account").status_code == 303
