"""The page of the link by which a user chooses a new password."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import accounts, links, proofs
from app.errors import NotFound
from tests.conftest import find_user
from tests.pages.conftest import (
    COOKIE,
    NEW_PASSWORD,
    NOON,
    Page,
    lead_to,
    reset_secret,
    setup_secret,
    sign_in,
)
from tests.support import PASSWORD, SOMEWHERE, get, submit


def test_a_reset_link_sets_a_new_password(app: Flask, client: FlaskClient, alice: str) -> None:
    """The new one signs in, the old one does not."""
    token = reset_secret(app, alice)
    assert get(client, f"/reset?token={token}").status_code == 200
    assert lead_to(submit(client, "/reset", token=token, password=NEW_PASSWORD)) == "/login"
    assert sign_in(client, alice).status_code == 401
    assert sign_in(client, alice, NEW_PASSWORD).status_code == 303


def test_a_reset_page_says_whose_password_it_is(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """Whoever looks after several accounts has several links."""
    page = get(client, f"/reset?token={reset_secret(app, alice)}")
    assert f">{alice}</strong>" in page.text


@pytest.mark.parametrize("refused", [False, True])
def test_a_reset_page_tells_password_managers_whose_password_it_is(
    app: Flask, client: FlaskClient, alice: str, refused: bool
) -> None:
    """Else they keep it as somebody else's; also when the form is shown again."""
    token = reset_secret(app, alice)
    answer = get(client, f"/reset?token={token}")
    if refused:
        answer = submit(client, "/reset", token=token, username="bob@example.com", password="short")
    field = Page(answer.text).field("username")
    assert (field["autocomplete"], field["value"]) == ("username", alice)
    assert {"hidden", "readonly"} <= field.keys()


def test_a_reset_ends_every_session(app: Flask, alice: str) -> None:
    """Whoever had the old password is out."""
    thief = app.test_client()
    sign_in(thief, alice)
    submit(app.test_client(), "/reset", token=reset_secret(app, alice), password=NEW_PASSWORD)
    assert get(thief, "/account").status_code == 303


def test_a_reset_signs_nobody_in(app: Flask, client: FlaskClient, alice: str) -> None:
    """Who found the link still has to sign in, and shows up as a sign-in."""
    submit(client, "/reset", token=reset_secret(app, alice), password=NEW_PASSWORD)
    assert client.get_cookie(COOKIE) is None


def test_a_reset_link_is_good_once(app: Flask, client: FlaskClient, alice: str) -> None:
    """The history of a browser is no way in."""
    token = reset_secret(app, alice)
    submit(client, "/reset", token=token, password=NEW_PASSWORD)
    assert get(client, f"/reset?token={token}").status_code == 404
    assert submit(client, "/reset", token=token, password=PASSWORD).status_code == 404
    assert sign_in(client, alice, NEW_PASSWORD).status_code == 303


def test_a_refused_new_password_leaves_the_reset_link_good(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """And the form still carries it."""
    token = reset_secret(app, alice)
    answer = submit(client, "/reset", token=token, password="short")
    assert answer.status_code == 422
    assert Page(answer.text).field("token")["value"] == token
    assert submit(client, "/reset", token=token, password=NEW_PASSWORD).status_code == 303


def test_a_reset_link_is_good_for_thirty_minutes(app: Flask, alice: str) -> None:
    """To the second; afterwards nothing changes."""
    token = reset_secret(app, alice, NOON)
    with app.app_context():
        links.check(links.RESET, token, NOON + timedelta(minutes=29, seconds=59))
        with pytest.raises(NotFound):
            accounts.reset_password(token, NEW_PASSWORD, SOMEWHERE, NOON + timedelta(minutes=30))
        assert proofs.authenticate(alice, PASSWORD, SOMEWHERE)


def test_a_reset_link_that_is_too_old_is_not_found(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """Neither for looking nor for doing."""
    token = reset_secret(app, alice, datetime.now(UTC) - timedelta(minutes=31))
    assert get(client, f"/reset?token={token}").status_code == 404
    assert submit(client, "/reset", token=token, password=NEW_PASSWORD).status_code == 404


def test_a_setup_link_resets_no_password(app: Flask, client: FlaskClient, alice: str) -> None:
    """Each link is bound to its purpose."""
    token = setup_secret(app)
    assert get(client, f"/reset?token={token}").status_code == 404
    assert submit(client, "/reset", token=token, password=NEW_PASSWORD).status_code == 404


def test_a_reset_link_of_one_user_leaves_the_others(
    app: Flask, client: FlaskClient, alice: str, bob: str
) -> None:
    """And a newer link of Bob's does not end Alice's."""
    token = reset_secret(app, alice)
    reset_secret(app, bob)
    submit(client, "/reset", token=token, email=bob, password=NEW_PASSWORD)
    assert sign_in(client, bob).status_code == 303
    assert sign_in(client, alice, NEW_PASSWORD).status_code == 303


def test_of_many_resets_at_once_one_wins(app: Flask, alice: str) -> None:
    """The password is the winner's."""
    token, start = reset_secret(app, alice), Barrier(6)

    def press(number: int) -> int:
        start.wait()
        fields = {"token": token, "password": f"{NEW_PASSWORD} {number}"}
        return submit(app.test_client(), "/reset", **fields).status_code

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(press, range(6))) == [303] + [404] * 5


def test_a_reset_link_does_not_let_a_disabled_user_in(
    app: Flask, client: FlaskClient, disabled: str
) -> None:
    """A new password is not a pardon."""
    submit(client, "/reset", token=reset_secret(app, disabled), password=NEW_PASSWORD)
    assert sign_in(client, disabled, NEW_PASSWORD).status_code == 401


def test_a_password_changed_otherwise_is_the_end_of_the_link(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """Whoever found an old link cannot take the account back."""
    token = reset_secret(app, alice)
    with app.app_context():
        accounts.set_password(find_user(app, alice), NEW_PASSWORD, SOMEWHERE)
    assert get(client, f"/reset?token={token}").status_code == 404
