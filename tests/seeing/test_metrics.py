"""What `/metrics` tells, and whom."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app import login
from app.db import utcnow
from app.errors import NotSignedIn
from app.lanes import QUEUE
from foxtrot.errors import REASONS
from tests.conftest import MakeApp
from tests.seeing.conftest import TOKEN, Numbers, sample, scrape
from tests.sessions.crowd import refresh, sign_in
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, bearer, get, log_in, post_json, submit
from tests.test_lanes import full
from tests.verifier.site import wait_until

REQUESTS = "foxtrot_request_duration_seconds"
REFUSED = "foxtrot_token_refusals_total"


def test_without_the_setting_there_is_nothing(make_app: MakeApp) -> None:
    """And nothing is written anywhere."""
    answer = scrape(make_app().test_client())
    assert answer.status_code == 404
    assert "FOXTROT_METRICS_TOKEN is not set" in answer.get_json()["detail"]


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[1:]}"],
)
def test_whoever_lacks_the_token_learns_nothing(client: FlaskClient, header: str) -> None:
    """401, as of any other guarded route."""
    answer = client.get("/metrics", headers={"Authorization": header}, base_url=ORIGIN)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")
    assert answer.get_json()["code"] == "unauthorized"


def test_an_access_token_is_no_metrics_token(client: FlaskClient, alice: str) -> None:
    """Not even an administrator's."""
    token = log_in(client, alice).get_json()["access_token"]
    assert scrape(client, token).status_code == 401


def test_prometheus_can_read_it(client: FlaskClient, alice: str) -> None:
    """Every family has a help and a type, and the text is what the format says it is."""
    log_in(client, alice)
    answer = scrape(client)
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.get_data(as_text=True)))
    assert len(families) == 10
    assert all(family.documentation and family.type != "unknown" for family in families)


def test_sign_ins_are_counted_by_outcome(app: Flask, alice: str, number: Numbers) -> None:
    """Those of programs and of the page together."""
    client = app.test_client()
    log_in(client, alice)
    log_in(client, alice, "wrong")
    submit(client, "/login", email=alice, password=PASSWORD)
    client.post("/auth/login", data="no JSON", base_url=ORIGIN)
    counted = {
        outcome: number("foxtrot_logins_total", outcome=outcome)
        for outcome in ("succeeded", "refused", "invalid", "throttled")
    }
    assert counted == {"succeeded": 2, "refused": 1, "invalid": 1, "throttled": 0}


def test_refreshes_are_counted_by_outcome(app: Flask, alice: str, number: Numbers) -> None:
    """A refusal is what a client with a dead token gets."""
    token = sign_in(app, alice)["refresh_token"]
    refresh(app, token)
    refresh(app, "nonsense")
    assert number("foxtrot_refreshes_total", outcome="succeeded") == 1
    assert number("foxtrot_refreshes_total", outcome="refused") == 1


def test_the_reuse_of_a_token_is_counted(app: Flask, alice: str, number: Numbers) -> None:
    """The alarm that an operator waits for rises from a zero that was there before."""
    token = sign_in(app, alice)["refresh_token"]
    refresh(app, token)
    assert number("foxtrot_events_total", event="refresh.reused") == 0
    with app.app_context(), pytest.raises(NotSignedIn):
        login.refresh(token, SOMEWHERE, now=utcnow() + timedelta(hours=1))
    assert number("foxtrot_events_total", event="refresh.reused") == 1


def test_refused_tokens_are_counted_by_reason(client: FlaskClient, number: Numbers) -> None:
    """At the own API, in the words of its answers."""
    get(client, "/api/me", "x.y.z")
    get(client, "/auth/verify?audience=notes", "x.y.z")
    assert number("foxtrot_token_refusals_total", reason="malformed") == 2
    assert number("foxtrot_token_refusals_total", reason="expired") == 0
    assert number("foxtrot_refusals_total", code="invalid_token") == 2


def test_each_reason_is_counted_for_itself(app: Flask, alice: str, number: Numbers) -> None:
    """Forged, for somebody else, of a session that has ended; with the names of the answers."""
    token = sign_in(app, alice)["access_token"]
    others = log_in(app.test_client(), alice, audience="notes").get_json()["access_token"]
    ended = sign_in(app, alice)
    post_json(app.test_client(), "/auth/logout", {"refresh_token": ended["refresh_token"]})
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    for wrong in (forged, others, ended["access_token"]):
        assert get(app.test_client(), "/api/me", wrong).status_code == 401
    assert get(app.test_client(), "/api/me", token).status_code == 200
    counted = {reason: number(REFUSED, reason=reason) for reason in REASONS}
    expected = {"bad_signature", "wrong_audience", "revoked"}
    assert {reason for reason, times in counted.items() if times} == expected
    assert sum(counted.values()) == 3


def test_who_is_held_back_is_counted(make_app: MakeApp, alice: str) -> None:
    """By a limit, or because the lanes are full; with those who wait for one meanwhile."""
    limits = {"FOXTROT_LIMIT_LOGIN_ADDRESS": "2/15m", "FOXTROT_HASH_LANES": "1"}
    app = make_app(FOXTROT_METRICS_TOKEN=TOKEN, **limits)
    client = app.test_client()
    with full(app.extensions["foxtrot_lanes"], 1 + QUEUE):
        assert log_in(client, alice).status_code == 503
        text = scrape(client).get_data(as_text=True)
    assert sample(text, "foxtrot_hashes_waiting", {}) == [QUEUE]
    assert [log_in(client, alice, "wrong").status_code for _ in range(3)] == [401, 401, 429]
    text = scrape(client).get_data(as_text=True)
    outcomes = ("unavailable", "throttled", "refused")
    counted = [sample(text, "foxtrot_logins_total", {"outcome": one}) for one in outcomes]
    assert counted == [[1], [1], [2]]


def test_times_are_those_of_routes_and_never_of_paths(
    client: FlaskClient, number: Numbers, alice: str
) -> None:
    """However many paths there are, and methods, and users: the labels stay few."""
    token = log_in(client, alice).get_json()["access_token"]
    for number_of_path in range(5):
        get(client, f"/nowhere/{number_of_path}")
        client.delete(f"/api/sessions/s_{number_of_path}", headers=bearer(token), base_url=ORIGIN)
        client.open("/login", method=f"X{number_of_path}", base_url=ORIGIN)
    labels = {"route": "/api/sessions/<session_id>", "method": "DELETE", "status": "403"}
    assert number(f"{REQUESTS}_count", **labels) == 5
    assert number(f"{REQUESTS}_bucket", le="+Inf", **labels) == 5
    assert 0 < number(f"{REQUESTS}_sum", **labels) < 60
    assert number(f"{REQUESTS}_count", route="none", status="404") == 5
    assert number(f"{REQUESTS}_count", method="other", status="405") == 5
    text = scrape(client).get_data(as_text=True)
    assert not any(said in text for said in ("nowhere", "u_", "s_0", "X1", "127.0.0.1", alice))


def test_it_says_what_runs(number: Numbers) -> None:
    """For whoever watches an upgrade."""
    assert number("foxtrot_build_info", version="0.1.0", database="sqlite") == 1
    assert number("foxtrot_workers") == 1


def test_the_numbers_outlive_a_restart(make_app: MakeApp, alice: str) -> None:
    """What a process that has ended had counted is with the numbers of those that live."""
    for _ in range(3):
        app = make_app(FOXTROT_METRICS_TOKEN=TOKEN)
        log_in(app.test_client(), alice)
    text = scrape(app.test_client()).get_data(as_text=True)
    assert 'foxtrot_logins_total{outcome="succeeded"} 3' in text


def test_the_hashing_lanes_are_seen(app: Flask, alice: str, number: Numbers) -> None:
    """How many passwords are hashed while one is, and how many afterwards."""
    with app.app_context():
        lanes = app.extensions["foxtrot_lanes"]
        meanwhile = lanes.run(lambda: number("foxtrot_hashes_running"))
    assert meanwhile == 1
    wait_until(lambda: number("foxtrot_hashes_running") == 0)
    assert number("foxtrot_hashes_waiting") == 0
