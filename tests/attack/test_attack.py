"""`flask tokens attack` against services that leave one check out, over real HTTP."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from flask import Flask

from app import attack as attack_rules
from app import sessions, users
from app.client import operator
from app.probe import Target
from foxtrot import SharedSecret
from foxtrot.flask import Bearer
from foxtrot.testing import Clock
from tests.attack.careless import Lists, Service, serving
from tests.attack.careless import make_app as make_service
from tests.attack.conftest import Attack, Serve
from tests.conftest import MakeApp, add_service, find_user
from tests.sessions.conftest import all_events
from tests.support import ORIGIN, SECRET_KEY, get

SCOPE = ("--scope", "notes:read")

HOLES = {
    "no audience": {"other audience", "longer audience", "audiences in one text"},
    "audience by substring": {"longer audience", "audiences in one text"},
    "no issuer": {"other issuer", "issuer with a slash", "issuer in other case"},
    "issuer by prefix": {"issuer with a slash", "longer issuer"},
    "no expiry": {"expired", "expired just now"},
    "no missing claims": {"no expiry", "no audience", "no subject", "no issuer"},
    "no nbf": {"not yet valid"},
    "no type": {"plain JWT", "no type", "refresh token", "ID token"},
    "no signature": {"alg none", "another's key", "unknown key", "content changed"},
    "none": {"alg none", "alg None", "alg NONE", "alg nOnE"},
    "public key as secret": {"public key as secret, PEM"},
    "jwk": {"key in jwk"},
    "jku": {"key in jku"},
    "kid as path": {"kid as path"},
    "crit": {"unknown crit", "empty crit", "b64 false"},
}


MANY_THINGS = {"no missing claims", "no signature"}


@pytest.mark.parametrize("hole", HOLES)
def test_a_service_with_a_hole_is_caught(serve: Serve, attack: Attack, hole: str) -> None:
    """The tokens that come through are named, and no others: all have to do with the hole."""
    report = attack.report(f"{serve(hole)}/notes", *SCOPE)
    through = [token for token in report["tokens"] if token["verdict"] == "let through"]
    assert HOLES[hole] <= {token["name"] for token in through}
    if hole not in MANY_THINGS:
        assert len({token["advice"] for token in through}) == 1


def test_a_careful_service_has_no_findings(serve: Serve, attack: Attack) -> None:
    """Not even by what the standards leave open."""
    url = f"{serve()}/notes"
    report = attack.report(url, *SCOPE, "--strict")
    assert report["holds"]
    assert {token["verdict"] for token in report["tokens"]} == {"refused"}
    assert len(report["tokens"]) > 80


@pytest.mark.parametrize(
    ("scope", "through"),
    [("none", {"no scope", "scope absent"}), ("substring", {"longer scope", "scope in another"})],
)
def test_a_scope_that_is_not_demanded_is_found(
    serve: Serve, attack: Attack, scope: str, through: set[str]
) -> None:
    """Where the operator says which scope the route demands."""
    url = f"{serve(scope=scope)}/notes"
    assert through <= attack.verdicts(url, *SCOPE)["let through"]
    report = attack.report(url)
    assert any("--scope" in reason for reason in report["untried"])


def test_an_open_route_is_found(serve: Serve, attack: Attack) -> None:
    """Then wrong tokens would say nothing more."""
    assert attack.verdicts(f"{serve()}/open") == {"let through": {"no token"}}


def test_who_opens_a_route_is_told_to_demand_a_token(serve: Serve, attack: Attack) -> None:
    """No signature could be verified better."""
    said = attack.run(f"{serve()}/open").stdout
    assert "-> Demand a token: answer a request without one with 401" in said
    assert "1 wrong token, 0 refused as it should be; 1 to mend." in said


def test_a_service_that_fetches_for_an_attacker_is_found(serve: Serve, attack: Attack) -> None:
    """Although it refuses the token."""
    name = "fetched from a URL in the token"
    assert attack.verdicts(f"{serve('x5u')}/notes", *SCOPE) == {name: {"key in x5u"}}


def test_a_service_that_fails_is_found(serve: Serve, attack: Attack) -> None:
    """A failure is no refusal."""
    crashed = attack.verdicts(f"{serve('crashing')}/notes", *SCOPE)["crashed"]
    assert {"alg absent", "alg null", "alg a list"} <= crashed


def test_a_stack_trace_is_found(serve: Serve, attack: Attack) -> None:
    """Strangers see the inside of the service."""
    assert "other audience" in attack.verdicts(f"{serve()}/talkative")["showed its inside"]


def test_a_redirect_is_not_followed(serve: Serve, attack: Attack) -> None:
    """It would lead to a page that is open; what it means is left to the operator."""
    found = attack.verdicts(f"{serve()}/page")
    assert "other audience" in found["unclear"]
    assert found.keys() == {"unclear"}


def test_lenience_that_is_permitted_does_not_count(serve: Serve, attack: Attack) -> None:
    """Unless it is asked for."""
    url = f"{serve('no missing claims')}/notes"
    assert {"no issue time", "two users", "no token id"} <= attack.verdicts(url)["lenient"]
    assert {"no issue time", "two users"} <= attack.verdicts(url, "--strict")["let through"]


def test_the_report_says_what_to_do(serve: Serve, attack: Attack) -> None:
    """In words, the worst first."""
    result = attack.run(f"{serve('no audience')}/notes", *SCOPE)
    assert result.exit_code == 1
    assert "LET THROUGH\n  other audience: It is for another service. (answered 200)" in (
        result.stdout
    )
    assert "-> Compare `aud` with this service's own name" in result.stdout
    assert "5 to mend." in result.stdout


def test_a_report_without_findings_is_short(serve: Serve, attack: Attack) -> None:
    """One can see that it means something."""
    result = attack.run(f"{serve()}/notes", *SCOPE)
    assert result.exit_code == 0
    assert "refused as they should be. This route checks." in result.stdout
    assert "LET THROUGH" not in result.stdout


def test_progress_is_told_beside_the_report(serve: Serve, attack: Attack) -> None:
    """On standard error, so that the report can be piped."""
    result = attack.run(f"{serve()}/notes", *SCOPE)
    assert "Sending wrong tokens to http://127.0.0.1" in result.stderr
    assert "Sending " not in result.stdout


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_it_attacks_with_whatever_the_tokens_are_signed_with(
    fresh: MakeApp, algorithm: str
) -> None:
    """The key and its forms are those of the algorithm."""
    app = fresh(FOXTROT_ALGORITHM=algorithm)
    jwks = get(app.test_client(), "/.well-known/jwks.json").get_json()
    jwks["keys"] = [key for key in jwks["keys"] if key["alg"] == algorithm]
    with serving(make_service(Service(ORIGIN, jwks, app))) as url:
        assert Attack(app.test_cli_runner()).report(f"{url}/notes", *SCOPE, "--strict")["holds"]


def test_it_attacks_services_that_share_a_secret(make_app: MakeApp) -> None:
    """Which hold no public key that could be used as one."""
    settings = {"FOXTROT_ALGORITHM": "HS256", "FOXTROT_SHARED_SECRET": SECRET_KEY}
    login, notes = make_app(**settings), Flask("notes")
    lists = Lists(login, ORIGIN, SharedSecret(SECRET_KEY))
    bearer = Bearer(ORIGIN, "notes", secret=SECRET_KEY, status=lists)
    notes.add_url_rule("/notes", "notes", bearer.required("notes:read")(lambda: "in"))
    with serving(notes) as url:
        attack = Attack(login.test_cli_runner())
        assert attack.report(f"{url}/notes", *SCOPE, "--strict")["holds"]


# A session that ends


def findings(app: Flask, url: str, wait: Callable[[float], None]) -> dict[str, str]:
    """What an attack on a route as the login service itself says of each token."""
    with app.app_context():
        plan = attack_rules.Plan(Target("GET", url), ORIGIN)
        report = attack_rules.run(plan, operator(), lambda text: None, wait)
    return {one.token.name: one.verdict.value for one in report.findings}


def test_a_service_that_never_learns_of_a_logout_is_found(app: Flask, service: Service) -> None:
    """It has a quarter of a minute."""
    waited: list[float] = []
    own = dataclasses.replace(service, audience=ORIGIN)
    with serving(make_service(own, scope="none")) as url:
        found = findings(app, f"{url}/notes", waited.append)
    assert found["ended session"] == "let through"
    assert sum(waited) == attack_rules.ENDED_WITHIN


def test_a_service_that_learns_of_it_in_time_is_not(app: Flask, service: Service) -> None:
    """Nothing waits longer than it has to."""
    waited: list[float] = []
    own = dataclasses.replace(service, audience=ORIGIN)
    notes = make_service(own, scope="none")
    answers = iter([("ended", 401)])
    notes.before_request(lambda: next(answers, None) if len(waited) == 3 else None)
    with serving(notes) as url:
        found = findings(app, f"{url}/notes", waited.append)
    assert found["ended session"] == "refused"
    assert len(waited) == 3


# A service that takes its time


def test_the_last_tokens_to_a_slow_service_are_not_expired(app: Flask, service: Service) -> None:
    """It takes four seconds an answer, and the hole is found by the very last ones."""
    clock = Clock()
    notes = make_service(dataclasses.replace(service, clock=clock), "crit")
    notes.before_request(lambda: clock.advance(4))
    with serving(notes) as url, app.app_context():
        plan = attack_rules.Plan(Target("GET", f"{url}/notes"), "notes", ("notes:read",))
        report = attack_rules.run(plan, operator(), lambda text: None, clock=clock)
    through = {one.token.name for one in report.holes if one.verdict == "let through"}
    assert through == {"unknown crit", "empty crit", "b64 false"}


# When nothing can be concluded


def test_a_service_that_refuses_everybody_proves_nothing(serve: Serve, attack: Attack) -> None:
    """The reason that it gives is passed on."""
    report = attack.report(f"{serve()}/notes", "--scope", "notes:write")
    assert not report["holds"]
    assert "a good token was not accepted either (answered 403)" in report["doubt"]


def test_a_service_that_is_not_there_proves_nothing(attack: Attack) -> None:
    """Nobody listens on the discard port."""
    report = attack.report("http://127.0.0.1:9/notes")
    assert "no answer" in report["doubt"]


def test_an_unknown_service_is_refused(attack: Attack) -> None:
    """With the names of those known."""
    result = attack.run("http://127.0.0.1:9/", "--audience", "nots")
    assert result.exit_code == 1
    assert "There is no service 'nots' here that tokens may be for." in result.stderr
    assert "Known are: http://localhost:5000, notes" in result.stderr


BILLING = ("--audience", "billing")
BILLING_SCOPES = ("billing:read", "billing:write")


def test_a_service_with_scopes_is_attacked_without_naming_one(
    app: Flask, service: Service, attack: Attack
) -> None:
    """The user of the attack holds all of the service's; that they are demanded is not tried."""
    add_service(app, "billing", *BILLING_SCOPES)
    billing = dataclasses.replace(service, audience="billing", scope="billing:write")
    with serving(make_service(billing)) as url:
        report = attack.report(f"{url}/notes", *BILLING)
    assert report["holds"]
    assert "no scope" not in {token["name"] for token in report["tokens"]}
    assert any("--scope" in reason for reason in report["untried"])


def test_scopes_that_are_not_the_services_are_told(app: Flask, alice: str, attack: Attack) -> None:
    """Whether they were named, or held by whoever was named."""
    add_service(app, "billing", *BILLING_SCOPES)
    said = "billing declares the scopes billing:read billing:write; "
    result = attack.run("http://127.0.0.1:9/", *BILLING, *SCOPE)
    assert f"{said}name one of them by --scope." in result.stderr
    result = attack.run("http://127.0.0.1:9/", *BILLING, "--user", alice)
    assert f"{said}{alice} holds none of them." in result.stderr
    assert result.exit_code == 1


# Whom it may attack


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "https://notes.example.com/notes"])
def test_another_host_has_to_be_named_once_more(attack: Attack, url: str) -> None:
    """Nothing is sent by mistake."""
    result = attack.run(url)
    assert result.exit_code == 1
    assert "is not this machine" in result.stderr
    assert "--host" in result.stderr


def test_naming_a_different_host_does_not_help(attack: Attack) -> None:
    """It has to be the one in the URL."""
    result = attack.run("https://notes.example.com/", "--host", "example.com")
    assert "is not this machine" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ftp://localhost/"], "is no URL"),
        (["localhost:5001"], "is no URL"),
        (["http://localhost:99999/"], "is no URL"),
        (["http://ann:secret@localhost/"], "Leave user and password out"),
        (["http://localhost/", "--method", "GET / HTTP/1.1"], "is no HTTP method"),
        (["http://localhost/", "--header", "nonsense"], "is no header"),
        (["http://localhost/", "--header", "X: a\r\nY: b"], "is no header"),
        (["http://localhost/", "--header", "authorization: Bearer x"], "set by the attack"),
        (["http://localhost:9/", "--skip", "perfect"], "no wrong token 'perfect'"),
        (["http://localhost:9/", "--scope", "admin"], "No administrator is made"),
    ],
)
def test_what_makes_no_sense_is_refused(
    app: Flask, attack: Attack, arguments: list[str], said: str
) -> None:
    """With a line that says why, and before anything was done."""
    result = attack.run(*arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert all_events(app) == []


# What it leaves behind


def test_nobody_is_left_behind(app: Flask, serve: Serve, attack: Attack) -> None:
    """The user of the attack is deleted, with their sessions; events stay."""
    attack.run(f"{serve()}/notes", *SCOPE)
    with app.app_context():
        assert list(users.everybody()) == []
    assert [event.name for event in all_events(app)] == ["tokens.attacked", "user.deleted"]


def test_a_named_user_keeps_nothing_of_it(
    app: Flask, alice: str, serve: Serve, attack: Attack
) -> None:
    """Their other sessions go on, also where one more is as many as there may be."""
    app.config["FOXTROT_SESSIONS_PER_USER"] = 2
    with app.app_context():
        own = sessions.start(find_user(app, alice), operator())
        before = own.public_id
    assert attack.report(f"{serve()}/notes", *SCOPE, "--user", alice)["holds"]
    with app.app_context():
        assert [session.public_id for session in sessions.live()] == [before]
    assert "tokens.attacked" in [event.name for event in all_events(app)]


def test_an_attack_ends_no_session_of_a_named_user(app: Flask, alice: str, attack: Attack) -> None:
    """Where they have as many as they may have, it does not begin."""
    app.config["FOXTROT_SESSIONS_PER_USER"] = 1
    with app.app_context():
        before = sessions.start(find_user(app, alice), operator()).public_id
    result = attack.run("http://127.0.0.1:9/", "--user", alice)
    assert result.exit_code == 1
    assert f"{alice} has as many sessions as FOXTROT_SESSIONS_PER_USER permits" in result.stderr
    with app.app_context():
        assert [session.public_id for session in sessions.live()] == [before]


def test_an_attack_that_is_broken_off_leaves_nobody_either(app: Flask, serve: Serve) -> None:
    """Ctrl-C at any time."""

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    plan = attack_rules.Plan(Target("GET", f"{serve()}/notes"), "notes")
    with app.app_context():
        with pytest.raises(KeyboardInterrupt):
            attack_rules.run(plan, operator(), interrupt)
        assert list(users.everybody()) == []


def test_nothing_secret_is_said(serve: Serve, attack: Attack) -> None:
    """Neither tokens nor keys stand in a report."""
    result = attack.run(f"{serve('no signature')}/notes", "--json")
    assert "eyJ" not in result.output
    assert "PRIVATE" not in result.output
