"""Every way in which a session ends: refresh tokens, cookie and access tokens are dead at once.

Alice has three sessions: a `browser`, a `program`, and an `other` program; Bob has a
browser and a program. Each ending says which of Alice's it ends. All others live on.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeApp, on_both_databases
from tests.sessions.conftest import (
    NEW_PASSWORD,
    SESSION_ENDED,
    delete,
    events_of,
    refresh,
    refusal,
    token_by_cookie,
)
from tests.sessions.house import ALICE, ALL, ENDINGS, Ending, Held, House, log_out
from tests.support import ORIGIN, PASSWORD, get, log_in, post_json


@pytest.fixture
def house(make_app: MakeApp, alice: str, bob: str) -> House:
    """The house, where a fifth session of a user is too many."""
    return House(make_app(FOXTROT_SESSIONS_PER_USER="4"))


def refuses_access(house: House, held: Held) -> bool:
    answer = get(house.client, "/api/me", held.access)
    return answer.status_code == 401 and answer.get_json()["reason"] == "revoked"


def refuses_rest(house: House, held: Held, cookie: str | None) -> bool:
    """Whether the refresh token is dead, or the cookie, also for whoever kept a copy."""
    if held.browser is None:
        tokens = [str(held.refresh), str(held.used)]
        return all(refusal(refresh(house.client, token)) == SESSION_ENDED for token in tokens)
    copy = house.app.test_client()
    copy.set_cookie("foxtrot_session", str(cookie))
    leads_away = get(copy, "/account").status_code == 303
    return leads_away and refusal(token_by_cookie(copy)) == SESSION_ENDED


def cookie_of(held: Held) -> str | None:
    cookie = held.browser.get_cookie("foxtrot_session") if held.browser else None
    return cookie.value if cookie else None


def opens(house: House, held: Held) -> bool:
    """Whether a session lives in all that its holder has."""
    if held.browser is not None:
        rest = token_by_cookie(held.browser)
    else:
        rest = refresh(house.client, str(held.refresh))
    return get(house.client, "/api/me", held.access).status_code == rest.status_code == 200


@on_both_databases
@pytest.mark.parametrize("name", ENDINGS)
def test_an_ended_session_is_dead_at_once(house: House, name: str) -> None:
    """Whatever its holder has of it: access token, refresh tokens, cookie."""
    end, which = ENDINGS[name]
    cookie = cookie_of(house.browser)
    end(house)
    for one in sorted(which):
        assert refuses_access(house, house.alices[one]), one
        assert refuses_rest(house, house.alices[one], cookie), one


@on_both_databases
@pytest.mark.parametrize("name", ENDINGS)
def test_all_other_sessions_live_on(house: House, name: str) -> None:
    """The user's others, the current one where it is spared, and everybody else's."""
    end, which = ENDINGS[name]
    end(house)
    spared = [house.alices[one] for one in sorted(ALL - which)]
    assert [opens(house, held) for held in (*spared, *house.bobs)] == [True] * (len(spared) + 2)


SILENT = {"operator deletes", "idle limit", "absolute limit"}
"""Deleting a user deletes their events; what runs out, nobody ends."""


@pytest.mark.parametrize("name", ENDINGS)
def test_each_session_that_is_ended_is_written_down_once(house: House, name: str) -> None:
    """And no other; doing it again writes nothing more."""
    end, which = ENDINGS[name]
    end(house)
    ended = which - (ALL if name in SILENT else set())
    for one, held in house.alices.items():
        names = [event.name for event in events_of(house.app, held.id)]
        assert names.count("session.ended") == (one in ended), one


AGAIN = [name for name in ENDINGS if name.startswith(("log out", "operator ends"))]


@pytest.mark.parametrize("name", [*AGAIN, "operator disables", "operator sets password", "theft"])
def test_ending_it_again_changes_nothing(house: House, name: str) -> None:
    """It is no error, and the first end stays the end."""
    end, which = ENDINGS[name]
    for _ in range(2):
        end(house)
    for one in which:
        names = [event.name for event in events_of(house.app, house.alices[one].id)]
        assert names.count("session.ended") == 1


@on_both_databases
def test_everything_ends_everybodys(house: House) -> None:
    """As one event, however many there were."""
    cookies = [cookie_of(held) for held in (*house.alices.values(), *house.bobs)]
    house.run("sessions", "end", "--everything")
    for held, cookie in zip((*house.alices.values(), *house.bobs), cookies, strict=True):
        assert refuses_access(house, held)
        assert refuses_rest(house, held, cookie)


def test_whoever_was_disabled_stays_out_when_enabled(house: House) -> None:
    """Their sessions ended for good; they sign in again."""
    house.run("users", "disable", ALICE)
    house.run("users", "enable", ALICE)
    assert all(refuses_access(house, held) for held in house.alices.values())
    assert log_in(house.client, ALICE).status_code == 200


@pytest.mark.parametrize("token", ["", "x" * 43, "é", "x" * 1000])
def test_logging_out_by_an_unknown_token_ends_nothing(house: House, token: str) -> None:
    """And the answer is that of a good one."""
    assert log_out(house, token).status_code == 204
    assert opens(house, house.program)


def test_logging_out_by_an_access_token_ends_nothing(house: House) -> None:
    """It is for services, which must not be able to log people out here."""
    log_out(house, house.program.access[:1000])
    assert get(house.client, "/api/me", house.program.access).status_code == 200


def test_a_refresh_token_is_logged_out_without_the_cookie(house: House) -> None:
    """The body says what ends, whoever's browser sends it; the cookie stays."""
    body = {"refresh_token": house.program.refresh}
    answer = post_json(browser_of(house), "/auth/logout", body, Origin=ORIGIN)
    assert (answer.status_code, answer.data) == (204, b"")
    assert refuses_access(house, house.program)
    assert opens(house, house.browser)


def browser_of(house: House) -> FlaskClient:
    assert house.browser.browser is not None
    return house.browser.browser


REFUSED_ENDINGS: dict[str, Ending] = {
    "a wrong current password": lambda at: at.form(
        "/account/password", current_password="wrong", new_password=NEW_PASSWORD
    ),
    "a weak new password": lambda at: at.form(
        "/account/password", current_password=PASSWORD, new_password="short"
    ),
    "somebody else's session, by page": lambda at: at.form(
        f"/account/sessions/{at.bobs[1].id}/end"
    ),
    "somebody else's session, by API": lambda at: delete(
        at.client, f"/api/sessions/{at.bobs[1].id}", at.other.access
    ),
    "a slip in the query": lambda at: delete(
        at.client, "/api/sessions?except=curent", at.other.access
    ),
    "a foreign page": lambda at: post_json(
        browser_of(at), "/auth/logout", {}, Origin="https://evil.example"
    ),
}


@pytest.mark.parametrize("name", REFUSED_ENDINGS)
def test_what_is_refused_ends_nothing(house: House, name: str, data_dir: Path) -> None:
    """Nobody's session."""
    REFUSED_ENDINGS[name](house)
    for held in (*house.alices.values(), *house.bobs):
        assert opens(house, held)
