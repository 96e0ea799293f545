"""What a request must bring along, as one decorator says it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from foxtrot.flask.misuse import misuse
from foxtrot.verifier import OnStale

_NO_SCOPE: Final = re.compile(r"[^\x21\x23-\x5b\x5d-\x7e]")  # RFC 6749 section 3.3


class Options(TypedDict, total=False):
    """What a decorator takes besides the scopes that are all needed.

    `any_of`: of these scopes one is enough; the first is the one to ask for.
    `max_age`: seconds since the user signed in (`auth_time`) after which the user
    must do so again (RFC 9470). `on_stale`: what happens while nobody knows whether
    the session has ended, "allow" or "deny"; the verifier's own setting, by default.
    """

    any_of: Sequence[str]
    max_age: int
    on_stale: OnStale


@dataclass(frozen=True, slots=True)
class Demand:
    """All *scopes*, one of *any_of*, and a sign-in within *max_age* seconds."""

    scopes: frozenset[str]
    any_of: tuple[str, ...] = ()
    max_age: int | None = None
    on_stale: OnStale | None = None
    optional: bool = False
    looks_closer: bool = False

    @classmethod
    def of(
        cls, name: str, scopes: tuple[object, ...], options: Mapping[str, Any], *, optional: bool
    ) -> Demand:
        """Make a demand of what was written between the parentheses.

        :param name: of what was written, as it is written.
        :raises Misuse: it makes no sense.
        """
        _refuse_unknown(name, options)
        any_of = _any_of(name, options)
        max_age, on_stale = options.get("max_age"), options.get("on_stale")
        if "max_age" in options and (type(max_age) is not int or max_age < 1):
            raise misuse(f"{name}: max_age is a whole number of seconds, 1 or more.")
        if "on_stale" in options and on_stale not in ("allow", "deny"):
            raise misuse(f'{name}: on_stale is "allow" or "deny".')
        return cls(
            scopes=frozenset(_good_scopes(name, scopes)),
            any_of=any_of,
            max_age=max_age,
            on_stale=on_stale,
            optional=optional,
            looks_closer=bool(any_of) or max_age is not None,
        )

    def needed(self) -> str:
        """Give the scopes, in words."""
        choice = f"one of {', '.join(self.any_of)}" if self.any_of else ""
        return " and ".join(filter(None, [" ".join(sorted(self.scopes)), choice]))

    def to_ask_for(self, granted: Collection[str]) -> str:
        """Give the scopes with which a new token passes (RFC 6750 section 3, `scope`).

        Of those of which one is enough it is the one that the token has, or the first.
        """
        choice = next((scope for scope in self.any_of if scope in granted), None)
        choices = {choice or self.any_of[0]} if self.any_of else set()
        return " ".join(sorted(self.scopes | choices))

    def __str__(self) -> str:
        words = f"a token with {self.needed()}" if self.needed() else "a token"
        if self.max_age is not None:
            words += f", signed in within {self.max_age} s"
        if self.on_stale is not None:
            words += f", {self.on_stale} if stale"
        return f"anybody; if there is a token, {words}" if self.optional else words


def _any_of(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    if "any_of" not in options:
        return ()
    given = options["any_of"]
    if not isinstance(given, Sequence) or isinstance(given, str | bytes) or not given:
        raise misuse(f'{name}: any_of is several scopes, any_of=("notes:read", "admin").')
    return _good_scopes(name, tuple(given))


def _good_scopes(name: str, scopes: tuple[Any, ...]) -> tuple[str, ...]:
    for scope in scopes:
        if callable(scope):
            raise misuse(f"{name} needs its parentheses: write {name}() or {name}('notes:read').")
        if not isinstance(scope, str) or not scope:
            raise misuse(f"{name}: a scope is a text that is not empty, not {scope!r}.")
        if _NO_SCOPE.search(scope):
            raise misuse(
                f"{name}: {scope!r} is no scope (RFC 6749 section 3.3);"
                " write one scope per argument, without spaces or quotes."
            )
    return scopes


def _refuse_unknown(name: str, options: Mapping[str, Any]) -> None:
    known = Options.__annotations__
    if unknown := [option for option in options if option not in known]:
        raise misuse(f"{name} takes no {unknown[0]!r}; it takes {', '.join(known)}.")
