"""The catalogue of wrong tokens, held against our own verifier in every algorithm."""

from __future__ import annotations

import secrets
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from foxtrot import InvalidToken, JWKSet, PublicKey, SharedSecret, Verifier
from foxtrot.errors import REASONS
from foxtrot.wrong_tokens import (
    ADVICE,
    Material,
    Signer,
    WrongToken,
    claims_of,
    new_signer,
    wrong_tokens,
)

ISSUER = "https://login.example.com"
SCOPE = "notes:read"

SIGNERS = {
    "ES256": new_signer("key-1"),
    "EdDSA": Signer("EdDSA", ed25519.Ed25519PrivateKey.generate(), "key-1"),
    "RS256": Signer("RS256", rsa.generate_private_key(65537, 2048), "key-1"),
    "HS256": Signer("HS256", secrets.token_bytes(48)),
}


class Ended:
    """Knows of one session that has ended."""

    def ended(self, token: object) -> bool:
        return getattr(token, "session_id", None) == "s_ended"


def material_of(signer: Signer) -> Material:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": "u_ann",
        "uid": "u_ann",
        "aud": ["notes"],
        "iat": now,
        "exp": now + 300,
        "jti": "t_1",
        "sid": "s_1",
        "scope": SCOPE,
    }
    ended = signer.sign({**claims, "sid": "s_ended"})
    retired = new_signer("retired")
    return Material(signer, claims, "notes", now, scopes=(SCOPE,), retired=retired, ended=ended)


def verifier_of(signer: Signer, *, by_pem: bool = False) -> Verifier:
    if isinstance(signer.private_key, bytes):
        return Verifier(ISSUER, "notes", keys=[SharedSecret(signer.private_key)], status=Ended())
    jwks, pem = JWKSet({"keys": [signer.public_jwk()]}), PublicKey(signer.public_pem())
    return Verifier(ISSUER, "notes", keys=[pem if by_pem else jwks], status=Ended())


def judged(verifier: Verifier, token: WrongToken, scope: str = SCOPE) -> str:
    """Why a token is refused, or `insufficient_scope`, or `accepted`."""
    try:
        found = verifier.verify(token.text)
    except InvalidToken as error:
        return error.reason
    return "accepted" if scope in found.scopes else "insufficient_scope"


@pytest.mark.parametrize("by_pem", [False, True], ids=["set", "single key"])
@pytest.mark.parametrize("algorithm", SIGNERS)
def test_our_verifier_refuses_each_for_its_reason(algorithm: str, by_pem: bool) -> None:
    """The whole catalogue, by every algorithm, with a set of keys and with a single one."""
    signer = SIGNERS[algorithm]
    verifier = verifier_of(signer, by_pem=by_pem)
    unexpected = {
        token.name: reason
        for token in wrong_tokens(material_of(signer))
        if (reason := judged(verifier, token)) not in token.reasons
    }
    assert unexpected == {}


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_good_token_of_the_same_making_is_accepted(algorithm: str) -> None:
    """What the wrong ones are refused for is what is wrong with them."""
    signer = SIGNERS[algorithm]
    token = verifier_of(signer).verify(material_of(signer).sign())
    assert token.subject == "u_ann"
    assert token.scopes == {SCOPE}


def test_names_are_unique_and_sentences_are_sentences() -> None:
    """People read them in a report, and name them on a command line."""
    tokens = wrong_tokens(material_of(SIGNERS["ES256"]))
    assert len({token.name for token in tokens}) == len(tokens) >= 40
    assert [token.name for token in tokens if not token.sentence.endswith(".")] == []


def test_every_case_has_known_reasons_and_advice() -> None:
    """The reasons are those of the verifier, and each piece of advice is of use."""
    tokens = wrong_tokens(material_of(SIGNERS["ES256"]))
    assert {reason for token in tokens for reason in token.reasons} <= {
        *REASONS,
        "insufficient_scope",
    }
    assert {token.theme for token in tokens} == set(ADVICE) - {"presence"}  # of any token at all
    assert all(token.advice for token in tokens)


def test_only_a_scope_is_answered_with_403() -> None:
    """As RFC 6750 section 3.1 has it."""
    tokens = wrong_tokens(material_of(SIGNERS["ES256"]))
    lacking = {token.name for token in tokens if "insufficient_scope" in token.reasons}
    assert {token.name for token in tokens if token.status == 403} == lacking
    assert {token.status for token in tokens} == {401, 403}


def test_each_of_several_scopes_is_left_out_once() -> None:
    """The token has the others then; near misses of the first have them, too."""
    full = material_of(SIGNERS["ES256"])
    scopes = ("notes:read", "notes:write", "admin")
    material = Material(full.signer, full.claims, "notes", full.now, scopes=scopes)
    lacking = [token for token in wrong_tokens(material) if token.status == 403]
    given = {token.name: claims_of(token.text).get("scope") for token in lacking}
    assert given["without notes:read"] == "notes:write admin"
    assert given["without notes:write"] == "notes:read admin"
    assert given["longer scope"] == "notes:read-two notes:write admin"


@pytest.mark.parametrize("scope", ["1", "*", "a", "4711"])
@pytest.mark.parametrize("audience", ["a", "1", "another-service"])
def test_odd_names_make_no_token_that_is_not_wrong(audience: str, scope: str) -> None:
    """One letter cannot be shortened, and a digit has no other case."""
    full = material_of(SIGNERS["ES256"])
    claims = {**full.claims, "aud": [audience], "scope": scope}
    material = Material(full.signer, claims, audience, full.now, scopes=(scope,))
    jwks = JWKSet({"keys": [full.signer.public_jwk()]})
    verifier = Verifier(ISSUER, audience, keys=[jwks])
    for token in wrong_tokens(material):
        assert judged(verifier, token, scope) in token.reasons, token.name


def test_without_scope_and_history_there_are_fewer() -> None:
    """Who signs cannot always make a retired key, an ended session or a lacking scope."""
    signer = SIGNERS["ES256"]
    full = material_of(signer)
    names = {t.name for t in wrong_tokens(Material(signer, full.claims, "notes", full.now))}
    assert names.isdisjoint({"retired key", "ended session", "no scope"})


def test_no_wrong_token_shows_the_private_key() -> None:
    """Nor does what is printed of the one who signs."""
    signer = SIGNERS["HS256"]
    assert isinstance(signer.private_key, bytes)
    assert repr(signer.private_key) not in repr(signer) + repr(material_of(signer))
