"""Whatever fails inside a guard, nobody gets in, and the answer says when to come back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from foxtrot import InvalidToken, IssuerKeys, JWKSet, Token, Unavailable
from foxtrot.flask import Bearer
from foxtrot.jwk import Key
from tests.verifier.minting import (
    CountingSource,
    Mint,
    SigningKey,
)
from tests.verifier.service import Notes, ask, notes_client


class BrokenSource:
    """A key source that fails where it is told to."""

    def __init__(self, where: str, error: Exception) -> None:
        self.where = where
        self.error = error

    def _fail(self, where: str) -> None:
        if self.where == where:
            raise self.error

    @property
    def algorithms(self) -> frozenset[str]:
        self._fail("algorithms")
        return frozenset({"ES256"})

    @property
    def generation(self) -> int:
        self._fail("generation")
        return 0

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        self._fail("find")
        return None


@pytest.mark.parametrize("where", ["algorithms", "generation", "find"])
@pytest.mark.parametrize(
    "error", [OSError("x"), KeyError("x"), RuntimeError("x"), AttributeError()]
)
def test_a_key_source_that_fails_is_503(where: str, error: Exception, mint: Mint) -> None:
    """Whatever goes wrong with the keys, nobody gets in and nothing crashes."""
    client = notes_client(keys=[BrokenSource(where, error)])
    answer = ask(client, mint())
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


def test_callers_are_not_told_why_the_keys_cannot_be_had(mint: Mint) -> None:
    """The log is: an address and an error within are nobody's business."""
    nowhere = "http://127.0.0.1:1"
    answer = ask(notes_client(keys=[IssuerKeys(nowhere)]), mint())
    assert answer.status_code == 503
    assert answer.get_json()["detail"] == "The keys of the issuer cannot be had at the moment."


class NonsenseSource(CountingSource):
    """A key source that gives what is no key."""

    def find(self, kid: str | None, algorithm: str) -> Any:
        return "a key"


def test_a_key_source_that_gives_nonsense_is_503(es_key: SigningKey, mint: Mint) -> None:
    """An answer that is no key proves nothing."""
    assert ask(notes_client(keys=[NonsenseSource(es_key)]), mint()).status_code == 503


class Verdict:
    """A status that says or raises what it was given."""

    def __init__(self, verdict: object) -> None:
        self.verdict = verdict

    def ended(self, token: Token) -> Any:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


@pytest.mark.parametrize(
    "error", [OSError("x"), KeyError("x"), RuntimeError("x"), AttributeError()]
)
@pytest.mark.parametrize("path", ["/notes", "/maybe"])
def test_a_status_that_fails_is_503(error: Exception, path: str, keys: JWKSet, mint: Mint) -> None:
    """Whether the session has ended cannot be known, so nobody gets in."""
    answer = ask(notes_client(keys=[keys], status=Verdict(error)), mint(), path)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


def test_the_status_says_when_to_come_back(keys: JWKSet, mint: Mint) -> None:
    """The time of the status goes into the header, in whole seconds."""
    client = notes_client(keys=[keys], status=Verdict(Unavailable("Later.", 17)))
    assert ask(client, mint()).headers["Retry-After"] == "17"


@pytest.mark.parametrize("verdict", [True, 1, "yes", InvalidToken("revoked")])
def test_an_ended_session_is_401_revoked(verdict: object, keys: JWKSet, mint: Mint) -> None:
    """The token was good and is no longer."""
    answer = ask(notes_client(keys=[keys], status=Verdict(verdict)), mint())
    assert (answer.status_code, answer.get_json()["reason"]) == (401, "revoked")


def test_a_living_session_lets_through(keys: JWKSet, mint: Mint) -> None:
    """The status has nothing against it."""
    assert ask(notes_client(keys=[keys], status=Verdict(False)), mint()).status_code == 200


@pytest.mark.parametrize(
    "detail", ['He said "no".', "a\r\nX-Evil: 1", "back\\slash", "Schluß", "\x00"]
)
def test_the_words_of_a_status_stay_inside_the_header(
    detail: str, keys: JWKSet, mint: Mint
) -> None:
    """A description from elsewhere can neither crash the answer nor add to it."""
    verdict = InvalidToken("revoked", detail)
    answer = ask(notes_client(keys=[keys], status=Verdict(verdict)), mint())
    challenge = answer.headers["WWW-Authenticate"]
    assert answer.status_code == 401
    assert "X-Evil" not in answer.headers
    assert challenge.count('"') == 6
    assert challenge.isascii()
    assert challenge.isprintable()


def test_scopes_may_be_fewer_than_the_token_says(keys: JWKSet, mint: Mint) -> None:
    """What counts here is decided here, for every request."""
    granted: set[str] = {"notes:read"}
    client = notes_client(keys=[keys], scopes_of=lambda token: token.scopes & granted)
    token = mint()
    assert ask(client, token, "/read").status_code == 200
    granted.clear()
    assert ask(client, token, "/read").status_code == 403


def fails_with(error: Exception) -> Callable[[Token], Collection[str]]:
    def scopes_of(token: Token) -> Collection[str]:
        raise error

    return scopes_of


def test_scopes_that_are_unavailable_are_503(keys: JWKSet, mint: Mint) -> None:
    """A database that is down decides nothing."""
    client = notes_client(keys=[keys], scopes_of=fails_with(Unavailable("Later.")))
    assert ask(client, mint()).status_code == 503


def test_scopes_that_fail_are_503(keys: JWKSet, mint: Mint) -> None:
    """Whatever goes wrong while they are looked up, it is no answer of 200 or 500."""
    client = notes_client(keys=[keys], scopes_of=fails_with(OSError("x")))
    answer = ask(client, mint())
    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")


def test_an_error_of_the_view_is_its_own(app: Notes, bearer: Bearer, mint: Mint) -> None:
    """What a view raises is not mistaken for a refusal of the caller's token."""
    app.testing = True
    app.add_url_rule("/raises", "raises", bearer.required()(raise_invalid_token))
    with pytest.raises(InvalidToken):
        ask(app.test_client(), mint(), "/raises")


def raise_invalid_token() -> str:
    raise InvalidToken("expired")
