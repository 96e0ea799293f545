"""Whom a token is for and what it may: what was wished for, of what is held and was granted.

Who may be called comes from `services`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from app import services
from app.errors import InvalidScope, InvalidTarget
from app.services import OWN_SCOPES, Service
from app.sessions import Grant, Snapshot
from app.tokens.signing import issuer
from app.users import Holder, User
from foxtrot.claims import Token


@dataclass(frozen=True)
class Wish:
    """What an access token is wanted for.

    :param audience: the services; all, by default.
    :param scope: the scopes; all that fit, by default.
    :param for_issuer: whether the token may be for this service, too.
    """

    audience: Sequence[str] | None = None
    scope: Sequence[str] | None = None
    for_issuer: bool = True


ANYTHING: Final = Wish()


def for_user(
    user: User | Holder, grant: Grant, wish: Wish
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Audience and scopes of a user's token, within what was granted.

    :raises InvalidTarget: an audience is not known here, or was not granted.
    :raises InvalidScope: the user does not hold a scope, it does not fit the audience, or it
        was not granted.
    """
    audiences = _audience_for(user, grant, wish)
    return audiences, _choose_scopes(user, grant, audiences, wish.scope)


def for_machine(service: Service, wish: Wish) -> tuple[tuple[str, ...], frozenset[str]]:
    """Audience and scopes of a machine's token: who declares what it may use, and no other scope.

    :raises InvalidTarget: an audience is not known here, or declares nothing that it may use.
    :raises InvalidScope: it may not use a scope, or the scope does not fit the audience.
    """
    possible = [
        one.name for one in services.open_to(service.may, wish.audience or ()) if one.scopes
    ]
    audiences = _choose_audience(possible, wish.audience)
    return audiences, _narrowed(service.may & services.declared_by(audiences), wish.scope)


def choose_grant(user: User | Holder, wish: Wish) -> Grant:
    """What a session is to be granted, of what was wished for at the sign-in.

    :raises InvalidTarget, InvalidScope: as in `mint`.
    """
    audiences, scopes = for_user(user, Grant(), wish)
    is_for_all = wish.audience is None and wish.for_issuer
    return Grant(None if is_for_all else audiences, None if wish.scope is None else scopes)


def refuse_wish(session: Snapshot, wish: Wish) -> None:
    """Refuse what no token of a session may be for, as `mint` does.

    :raises InvalidTarget, InvalidScope: as in `mint`.
    """
    for_user(session.user, session.grant, wish)


def effective_scopes(token: Token, user: User) -> frozenset[str]:
    """What a token may do at this service's own API: its scopes, if the user holds them still.

    Own scopes count only in a token that no other service could have received,
    or have signed.
    """
    scopes = token.scopes & user.scopes
    if token.audience != (issuer(),) or may_be_forged(token):
        scopes -= OWN_SCOPES
    return scopes


def fitting(scopes: frozenset[str], audiences: Collection[str]) -> frozenset[str]:
    """Those scopes that mean something to these services: not those that only others declare."""
    return scopes - (services.declared_by() - services.declared_by(audiences))


def may_be_forged(token: Token) -> bool:
    """Say whether a service could have signed a token itself, for any session that it knows of."""
    return token.algorithm == "HS256"


def _audience_for(user: User | Holder, grant: Grant, wish: Wish) -> tuple[str, ...]:
    """The audience of a user's token: the wish, of what they may call and what was granted."""
    wanted = [name for name in wish.audience or () if name != issuer()]
    known = (issuer(), *(one.name for one in services.open_to(user.scopes, wanted)))
    possible = [name for name in known if grant.audience is None or name in grant.audience]
    if not wish.for_issuer:
        possible = [name for name in possible if name != issuer()]
    return _choose_audience(possible, wish.audience)


def _choose_audience(possible: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """What was wished for of what is possible, in the order of that."""
    wanted = possible if wanted is None else wanted
    if not wanted or not set(wanted) <= set(possible):
        raise InvalidTarget(
            "There is no service of that name here, or the token may not be for it. Known"
            f" are: {', '.join(possible) or 'none'}."
        )
    return tuple(name for name in possible if name in wanted)


def _choose_scopes(
    user: User | Holder, grant: Grant, audiences: Sequence[str], wanted: Sequence[str] | None
) -> frozenset[str]:
    """The scopes of a token: what was wished for, of what the user holds and was granted.

    One that services declare goes into tokens for these alone; one that nobody declares, into all.
    """
    held = user.scopes if grant.scope is None else user.scopes & grant.scope
    if tuple(audiences) != (issuer(),):
        if misplaced := held & OWN_SCOPES & set(wanted or ()):
            raise InvalidScope(
                f"The scope {' '.join(sorted(misplaced))} goes only into a token for this service"
                f' alone. Ask for "audience": "{issuer()}", too.'
            )
        held = held - OWN_SCOPES
    return _narrowed(fitting(held, audiences), wanted)


def _narrowed(held: frozenset[str], wanted: Sequence[str] | None) -> frozenset[str]:
    if wanted is None:
        return held
    if not held.issuperset(wanted):
        raise InvalidScope(
            "A scope was asked for that you do not hold, that was not granted at the sign-in, or"
            " that none of the services declares which the token is for."
            f" Possible are: {' '.join(sorted(held)) or 'none'}."
        )
    return frozenset(wanted)
