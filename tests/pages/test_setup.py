"""The page of the link that makes the first administrator."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import accounts, users
from app.errors import NotFound
from tests.conftest import add_user, find_user
from tests.pages.conftest import (
    NOON,
    Page,
    lead_to,
    reset_secret,
    set_up,
    setup_secret,
)
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, get, submit


def test_there_is_no_account_at_first(app: Flask) -> None:
    """Nor a default password."""
    with app.app_context():
        assert list(users.everybody()) == []


def test_a_setup_link_makes_the_first_administrator(app: Flask, client: FlaskClient) -> None:
    """Who is signed in at once."""
    token = setup_secret(app)
    assert get(client, f"/setup?token={token}").status_code == 200
    assert lead_to(set_up(client, token)) == "/account"
    with app.app_context():
        assert "admin" in find_user(app, "alice@example.com").scopes


def test_the_link_of_the_command_opens_the_page(app: Flask, client: FlaskClient) -> None:
    """What is printed is what is served."""
    with app.app_context():
        url = accounts.setup_url()
    assert url.startswith(f"{ORIGIN}/setup?token=")
    assert get(client, url.removeprefix(ORIGIN)).status_code == 200


def test_looking_at_the_setup_page_does_not_use_the_link_up(
    app: Flask, client: FlaskClient
) -> None:
    """A scanner of links may look first."""
    token = setup_secret(app)
    for _ in range(3):
        assert get(client, f"/setup?token={token}").status_code == 200
    assert set_up(client, token).status_code == 303


def test_an_old_setup_link_names_the_command_for_a_new_one(client: FlaskClient) -> None:
    """Whoever opens it runs the service, as a rule."""
    answer = get(client, "/setup?token=old")
    assert (answer.status_code, "flask setup-link" in answer.text) == (404, True)


def test_a_setup_link_is_good_once(app: Flask) -> None:
    """Even after the administrator it made is gone."""
    token = setup_secret(app)
    set_up(app.test_client(), token)
    with app.app_context():
        users.delete(find_user(app, "alice@example.com"), SOMEWHERE)
    assert get(app.test_client(), f"/setup?token={token}").status_code == 404
    assert set_up(app.test_client(), token, "mallory@example.com").status_code == 404


@pytest.mark.parametrize(
    ("email", "password"), [("no address", PASSWORD), ("alice@example.com", "short")]
)
def test_a_refused_setup_leaves_the_link_good(
    app: Flask, client: FlaskClient, email: str, password: str
) -> None:
    """A slip does not lock the operator out."""
    token = setup_secret(app)
    answer = submit(client, "/setup", token=token, email=email, password=password)
    assert answer.status_code == 422
    assert Page(answer.text).field("token")["value"] == token
    assert set_up(client, token).status_code == 303


def test_a_taken_address_leaves_the_setup_link_good(
    app: Flask, client: FlaskClient, bob: str
) -> None:
    """A user who is no administrator may be there before."""
    token = setup_secret(app)
    assert set_up(client, token, bob).status_code == 409
    assert set_up(client, token).status_code == 303


def test_a_setup_link_is_good_for_thirty_minutes(app: Flask) -> None:
    """To the second."""
    token = setup_secret(app, NOON)
    with app.app_context():
        accounts.check_setup(token, SOMEWHERE, NOON + timedelta(minutes=29, seconds=59))
        with pytest.raises(NotFound):
            accounts.check_setup(token, SOMEWHERE, NOON + timedelta(minutes=30))


def test_a_setup_link_that_is_too_old_makes_nobody(app: Flask) -> None:
    """The rule that makes the account looks at the time itself."""
    token, late = setup_secret(app, NOON), NOON + timedelta(minutes=30)
    with app.app_context(), pytest.raises(NotFound):
        accounts.set_up(token, "a@example.com", PASSWORD, SOMEWHERE, late)
    with app.app_context():
        assert list(users.everybody()) == []


def test_a_setup_link_that_is_too_old_is_not_found(app: Flask, client: FlaskClient) -> None:
    """Neither for looking nor for doing."""
    token = setup_secret(app, datetime.now(UTC) - timedelta(minutes=31))
    assert get(client, f"/setup?token={token}").status_code == 404
    assert set_up(client, token).status_code == 404


def test_a_newer_setup_link_replaces_the_older(app: Flask, client: FlaskClient) -> None:
    """Two links are never good at once."""
    older, newer = setup_secret(app), setup_secret(app)
    assert get(client, f"/setup?token={older}").status_code == 404
    assert get(client, f"/setup?token={newer}").status_code == 200


def test_a_setup_link_is_not_found_while_there_is_an_administrator(
    app: Flask, client: FlaskClient
) -> None:
    """However that one was made."""
    token = setup_secret(app)
    add_user(app, "root@example.com", "admin")
    assert get(client, f"/setup?token={token}").status_code == 404
    assert set_up(client, token).status_code == 404


def test_no_setup_link_is_made_while_there_is_an_administrator(app: Flask) -> None:
    """The command says so instead."""
    add_user(app, "root@example.com", "admin")
    with app.app_context(), pytest.raises(NotFound, match="There is an administrator already"):
        accounts.setup_url()


@pytest.mark.parametrize("token", ["", "x", "%00", "é", "a" * 3000])
def test_a_guessed_setup_link_is_not_found(app: Flask, client: FlaskClient, token: str) -> None:
    """The same page as after the first administrator."""
    setup_secret(app)
    assert get(client, f"/setup?token={token}").status_code == 404


def test_the_setup_page_is_not_found_without_a_link(client: FlaskClient) -> None:
    """Nobody learns whether there is an administrator."""
    assert get(client, "/setup").status_code == 404


def test_a_reset_link_does_not_make_an_administrator(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """Each link is bound to its purpose."""
    token = reset_secret(app, alice)
    assert get(client, f"/setup?token={token}").status_code == 404
    assert set_up(client, token, "mallory@example.com").status_code == 404


def test_of_many_setups_at_once_one_wins(app: Flask) -> None:
    """Eight people open the same link and press the button together."""
    token, start = setup_secret(app), Barrier(8)

    def press(number: int) -> int:
        start.wait()
        return set_up(app.test_client(), token, f"user{number}@example.com").status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(press, range(8)))
    assert statuses == [303] + [404] * 7
    with app.app_context():
        assert len(list(users.everybody())) == 1
