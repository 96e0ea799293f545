"""Attack a service with wrong tokens, to see whether it really checks them.

The tokens are signed with this service's own key, for a user that is made for the attack and
deleted after it, or for one that the operator names. First a good token must be accepted and
none at all refused; else nothing can be concluded. The session behind the tokens ends with the
attack, so that they are of no use afterwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from flask import current_app

from app import accounts, audit, services, sessions, tokens, users
from app.audit import Event
from app.client import Client
from app.db import transaction
from app.errors import InvalidRequest, InvalidScope, InvalidTarget
from app.ids import new_id, new_secret
from app.probe import Answer, Lure, Target, send
from app.sessions import Ending, Snapshot
from app.tokens import Wish
from app.users import ADMIN, User
from app.verdicts import Finding, Report, judge
from foxtrot.wrong_tokens import (
    Material,
    Signer,
    WrongToken,
    certificate_pem,
    claims_of,
    header_of,
    new_signer,
    wrong_tokens,
)

LIFETIME: Final = 300
"""Seconds for which wrong tokens would be good, if nothing else were wrong with them."""

FRESH_FOR: Final = 60
"""Seconds after which they are made anew: the last must not be refused because they expired."""

ENDED_WITHIN: Final = 15
"""Seconds after which a service must know of a logout: the status list's ttl, and a few."""

ENDED: Final = "ended session"

OPEN: Final = "wrong tokens; the route is open to anybody"

MAX_SILENT: Final = 3
"""Requests in a row without an answer, after which the service is left alone."""


@dataclass(frozen=True)
class Plan:
    """What is to be attacked, and as whom.

    :param audience: the service's name.
    :param scopes: those that the route demands: the good token has no others.
    :param user: whose tokens; a user made for the purpose, by default.
    :param skip: names of wrong tokens that are left out.
    :param strict: whether also what the standards permit to accept must be refused.
    """

    target: Target
    audience: str
    scopes: tuple[str, ...] = ()
    user: User | None = None
    skip: frozenset[str] = frozenset()
    strict: bool = False


def run(
    plan: Plan,
    client: Client,
    tell: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Attack, and report.

    :param client: who asked for it.
    :param tell: is told what takes long.
    :raises InvalidTarget: the audience is unknown here, or the user may not call it.
    :raises InvalidScope: the user does not hold a scope, or it is none of the service's.
    :raises InvalidRequest: something is to be skipped that there is not.
    """
    _refuse_nonsense(plan)
    with ExitStack() as stack:
        user = plan.user or stack.enter_context(_made_for_it(plan, client))
        session = stack.enter_context(_session_of(user, client))
        good = _mint(session, plan)
        attacker, lure = stack.enter_context(_lure(plan.target))
        material = partial(_material, plan, good, attacker, lure)
        wrong = _fresh(lambda: _chosen(plan, material(int(clock()))), clock)
        victim = plan.user.public_id if plan.user else None
        audit.record(Event.TOKENS_ATTACKED, client, user=victim, reason=plan.audience)
        if doubt := _doubt(plan, good):
            return Report(_what(plan), plan.audience, (), doubt)
        bare = _bare(plan)
        if bare.answer.is_success:
            return Report(_what(plan), plan.audience, (bare,), untried=(OPEN,))
        tell(f"Sending wrong tokens to {plan.target.url}")
        found = [bare, *_fire(plan, wrong, lure)]
        if _can_end(plan, good):
            found += _ended(plan, session, client, tell, wait)
        late = _late_doubt(plan, user, client, session)
        return Report(_what(plan), plan.audience, tuple(found), late, _untried(plan, good))


def _refuse_nonsense(plan: Plan) -> None:
    """Refuse what would come to nothing, before a user is made for it."""
    if ADMIN in plan.scopes and plan.user is None:
        raise InvalidScope("No administrator is made for an attack; name one by --user.")
    if plan.audience != tokens.issuer() and not services.knows(plan.audience):
        known = [one.name for one in services.open_to(services.declared_by())]
        raise InvalidTarget(
            f"There is no service {plan.audience!r} here that tokens may be for. Known are:"
            f" {', '.join([tokens.issuer(), *known])}."
        )
    _refuse_scopes_of_others(plan)
    _refuse_unknown_skips(plan)


def _refuse_scopes_of_others(plan: Plan) -> None:
    """Refuse an attack whose tokens could not be for the service."""
    declared = services.declared_by([plan.audience])
    words = f"{plan.audience} declares the scopes {' '.join(sorted(declared))}"
    if declared and plan.user and declared.isdisjoint(plan.user.scopes):
        raise InvalidTarget(f"{words}; {plan.user.email} holds none of them.")
    if declared and plan.scopes and declared.isdisjoint(plan.scopes):
        raise InvalidScope(f"{words}; name one of them by --scope.")


def _refuse_unknown_skips(plan: Plan) -> None:
    """Refuse to skip what there is not. The key is made up: names do not depend on it."""
    material = Material(
        new_signer("key-1"), {"iss": tokens.issuer()}, plan.audience, 0, scopes=plan.scopes
    )
    known = [*(token.name for token in wrong_tokens(material)), ENDED]
    if unknown := sorted(plan.skip - {*known}):
        raise InvalidRequest(
            f"There is no wrong token {unknown[0]!r}; there are: {', '.join(known)}."
        )


@contextmanager
def _made_for_it(plan: Plan, client: Client) -> Iterator[User]:
    """A user whom nobody can sign in as; deleted in the end.

    They hold the scopes that were named, or else all that the service declares.
    """
    address = f"{new_id('attack')}@example.com"
    scopes = plan.scopes or services.declared_by([plan.audience])
    user = users.create(address, new_secret(), client, scopes=scopes)
    try:
        yield user
    finally:
        accounts.delete(user, client)


@contextmanager
def _session_of(user: User, client: Client) -> Iterator[Snapshot]:
    """A session beside those that the user has; no more than one of them at a time.

    :raises InvalidRequest: there is no room for it: a session of the user's own would end.
    """
    with transaction():
        users.lock(user.id)
        if len(sessions.live(user)) >= current_app.config["FOXTROT_SESSIONS_PER_USER"]:
            raise InvalidRequest(
                f"{user.email} has as many sessions as FOXTROT_SESSIONS_PER_USER permits, and one"
                " of them would end for the attack. Name another user, or end one yourself:"
                " flask sessions end"
            )
        session = sessions.start(user, client)
    try:
        yield session
    finally:
        _end(session, client)


def _end(session: Snapshot, client: Client) -> None:
    sessions.end(session, Ending.ENDED_BY_OPERATOR, client)


def _mint(session: Snapshot, plan: Plan) -> str:
    return tokens.mint(session, Wish(audience=(plan.audience,), scope=plan.scopes or None)).text


def _doubt(plan: Plan, good: str) -> str:
    """Why nothing could be concluded from what wrong tokens are answered; empty if it can."""
    answer = send(plan.target, good)
    if answer.is_success:
        return ""
    if not answer.status:
        return f"no answer ({answer.problem}). Does the service run there?"
    said = f"answered {answer.status}"
    return (
        f"a good token was not accepted either ({said}).{_quoted(answer)} Is the route there?"
        f" Does the service know the issuer {tokens.issuer()} and itself as {plan.audience!r}?"
        " Name the scopes that the route demands by --scope, its method by --method, a body by"
        " --data."
    )


def _quoted(answer: Answer) -> str:
    """What the service says of its reasons, where it does so like our decorator."""
    try:
        detail = json.loads(answer.text).get("detail")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f" It says: {detail[:300]}" if isinstance(detail, str) and detail.isprintable() else ""


def _late_doubt(plan: Plan, user: User, client: Client, before: Snapshot) -> str:
    """Whether a good token is still accepted when all is done: of another session, the next."""
    _end(before, client)
    with _session_of(user, client) as session:
        if send(plan.target, _mint(session, plan)).is_success:
            return ""
    return "after the attack the service refused a good token, too; it may have limited the rate."


@contextmanager
def _lure(target: Target) -> Iterator[tuple[Signer, Lure | None]]:
    """An attacker's key, and where it can be fetched by a service on this machine."""
    attacker = new_signer("attacker-1")
    if not target.is_loopback:
        yield attacker, None
        return
    jwks = json.dumps({"keys": [attacker.public_jwk()]}).encode()
    with Lure({"/jwks.json": jwks, "/cert.pem": certificate_pem(attacker)}) as lure:
        yield attacker, lure


def _material(plan: Plan, good: str, attacker: Signer, lure: Lure | None, now: int) -> Material:
    claims = {**claims_of(good), "exp": now + LIFETIME}
    signer, scopes = _signer_of(good), plan.scopes
    material = Material(signer, claims, plan.audience, now, scopes, attacker=attacker)
    return material if lure is None else replace(material, attacker_url=lure.url)


def _signer_of(good: str) -> Signer:
    """The key that a token was signed with; it stays in this process."""
    header = header_of(good)
    if header["alg"] == "HS256":
        secret = current_app.config["FOXTROT_SHARED_SECRET"].encode()
        return Signer("HS256", secret, header.get("kid"))
    kid, private_key, algorithm = current_app.extensions["foxtrot_keys"].signing_key()
    return Signer(algorithm, private_key, kid)


def _chosen(plan: Plan, material: Material) -> list[WrongToken]:
    """The catalogue, less what is skipped."""
    return [token for token in wrong_tokens(material) if token.name not in plan.skip]


def _bare(plan: Plan) -> Finding:
    """The request without any token."""
    sentence = "The request carries no token at all."
    token = WrongToken("no token", sentence, "presence", "", ())
    return judge(token, send(plan.target, None), strict=plan.strict)


def _fresh(
    make: Callable[[], list[WrongToken]], clock: Callable[[], float]
) -> Iterator[WrongToken]:
    """Each wrong token, made not long before it is asked for."""
    tokens, made_at = make(), clock()
    for place in range(len(tokens)):
        if clock() - made_at >= FRESH_FOR:
            tokens, made_at = make(), clock()
        yield tokens[place]


def _fire(plan: Plan, wrong: Iterator[WrongToken], lure: Lure | None) -> Iterator[Finding]:
    """Send every wrong token, unless the service falls silent."""
    silent = 0
    for token in wrong:
        answer = send(plan.target, token.text)
        fetched = lure is not None and lure.fetched()
        yield judge(token, answer, fetched=fetched, strict=plan.strict)
        silent = silent + 1 if answer.status is None else 0
        if silent == MAX_SILENT:
            return


def _can_end(plan: Plan, good: str) -> bool:
    """Say whether the service has a way to know of an ended session, and is to be tried."""
    knows = plan.audience == tokens.issuer() or "status" in claims_of(good)
    return knows and ENDED not in plan.skip


def _ended(
    plan: Plan,
    session: Snapshot,
    client: Client,
    tell: Callable[[str], None],
    wait: Callable[[float], None],
) -> Iterator[Finding]:
    """A token that is accepted, until its session ends; asked for once a second then."""
    text = _mint(session, plan)
    if not send(plan.target, text).is_success:
        return  # what is said in the end is that a good token is not accepted any more
    _end(session, client)
    answer, waited = send(plan.target, text), 0
    if answer.is_success:
        tell(f"Waiting up to {ENDED_WITHIN} s until the service knows that a session has ended")
    while answer.is_success and waited < ENDED_WITHIN:
        wait(1)
        waited += 1
        answer = send(plan.target, text)
    sentence = "Its session has ended: the user logged out."
    token = WrongToken(ENDED, sentence, "session", text, ("revoked",))
    yield judge(token, answer, strict=plan.strict)


def _untried(plan: Plan, good: str) -> tuple[str, ...]:
    """What this attack says nothing about, and why."""
    reasons = [f"{name}, left out by --skip" for name in sorted(plan.skip)]
    if not plan.scopes:
        reasons.append("whether a scope is demanded; name the route's scope by --scope")
    if not _can_end(plan, good) and ENDED not in plan.skip:
        reasons.append(f"{ENDED}; the tokens do not say where to ask for it (claim `status`)")
    return tuple(reasons)


def _what(plan: Plan) -> str:
    return f"{plan.target.method} {plan.target.url}"
