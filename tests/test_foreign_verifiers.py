"""Verifiers that we did not write take our tokens, by our JWK Set, and refuse forged ones.

In Python in this process; in Node.js against a real server.
"""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from flask.testing import FlaskClient
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from app import create_app
from tests.conftest import add_user, dispose
from tests.processes import free_port, serving
from tests.support import (
    CHEAP_HASH,
    ORIGIN,
    PASSWORD,
    access_token,
    cheap_settings,
    claims_of,
    get,
    header_of,
)

with warnings.catch_warnings(record=True):  # an older implementation is another one
    from authlib.jose import JsonWebKey as AuthlibKey
    from authlib.jose import JsonWebToken as AuthlibToken
    from authlib.jose.errors import JoseError as AuthlibError

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 renames it

ALGORITHMS = ["ES256", "EdDSA", "RS256"]
ALICE = "alice@example.com"
NODE = Path(__file__).parent / "node"


def with_joserfc(audience: str, token: str, jwks: Any) -> dict[str, Any]:
    """https://jose.authlib.org/"""
    decoded = joserfc_jwt.decode(token, KeySet.import_key_set(jwks), algorithms=ALGORITHMS)
    claims = joserfc_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ORIGIN},
        aud={"essential": True, "value": audience},
        sub={"essential": True},
        exp={"essential": True},
    )
    claims.validate(decoded.claims)
    assert decoded.header["typ"] == "at+jwt"
    return decoded.claims


def with_authlib(audience: str, token: str, jwks: Any) -> dict[str, Any]:
    """https://docs.authlib.org/"""
    options = {
        "iss": {"essential": True, "value": ORIGIN},
        "aud": {"essential": True, "value": audience},
        "sub": {"essential": True},
        "exp": {"essential": True},
    }
    keys = AuthlibKey.import_key_set(jwks)
    claims = AuthlibToken(ALGORITHMS).decode(token, keys, claims_options=options)
    claims.validate()
    return dict(claims)


Verifier = Callable[[str, str, Any], dict[str, Any]]
VERIFIERS: list[Verifier] = [with_joserfc, with_authlib]
REFUSED = (JoseError, AuthlibError, ValueError)


@pytest.fixture(scope="module", params=ALGORITHMS)
def signing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlaskClient]:
    """The way in to an app that signs by each of the algorithms; Alice has an account."""
    folder = tmp_path_factory.mktemp("signing")
    app = create_app({**cheap_settings(folder), "FOXTROT_ALGORITHM": request.param})
    add_user(app, ALICE)
    yield app.test_client()
    dispose(app)


def jwks_of(client: FlaskClient) -> dict[str, Any]:
    jwks: dict[str, Any] = get(client, "/.well-known/jwks.json").get_json()
    return jwks


@pytest.mark.parametrize("verifier", VERIFIERS)
@pytest.mark.parametrize("audience", ["notes", ORIGIN])
def test_others_verify_our_tokens(signing: FlaskClient, verifier: Verifier, audience: str) -> None:
    """Signature, issuer, audience and expiry, and they read the claims that we wrote."""
    token = access_token(signing, ALICE)
    assert verifier(audience, token, jwks_of(signing)) == claims_of(token)


def forgeries(token: str) -> list[str]:
    """The token with another subject, another header, another signature, and none."""
    header, claims, signature = token.split(".")
    mallory = encoded({**claims_of(token), "sub": "u_mallory", "uid": "u_mallory"})
    other_header = encoded({**header_of(token), "crit": []})
    changed = ("A" if signature[9] != "A" else "B").join([signature[:9], signature[10:]])
    unsigned = encoded({"alg": "none", "typ": "at+jwt"})
    return [
        f"{header}.{mallory}.{signature}",
        f"{other_header}.{claims}.{signature}",
        f"{header}.{claims}.{changed}",
        f"{unsigned}.{claims}.",
    ]


def encoded(members: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_others_refuse_forgeries(signing: FlaskClient, verifier: Verifier) -> None:
    """By the same keys."""
    jwks = jwks_of(signing)
    for forged in forgeries(access_token(signing, ALICE)):
        with pytest.raises(REFUSED):
            verifier("notes", forged, jwks)


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_others_refuse_a_token_for_another_service(
    signing: FlaskClient, verifier: Verifier
) -> None:
    """A token that was narrowed says so in a way that everybody understands."""
    token = access_token(signing, ALICE, audience="notes")
    with pytest.raises(REFUSED):
        verifier(ORIGIN, token, jwks_of(signing))


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_others_refuse_a_token_of_another_issuers_key(
    signing: FlaskClient, verifier: Verifier
) -> None:
    """A key set that lacks the key is of no use."""
    token = access_token(signing, ALICE)
    strangers = [{**key, "kid": "another"} for key in jwks_of(signing)["keys"]]
    with pytest.raises(REFUSED):
        verifier("notes", token, {"keys": strangers})


# Node.js


@pytest.fixture
def node() -> None:
    """Node.js with the packages of tests/node, or a reason to skip; CI never skips."""
    if (NODE / "node_modules").is_dir():
        return
    reason = "the packages are missing: npm install --prefix tests/node --no-package-lock"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def post(url: str, body: dict[str, str]) -> dict[str, Any]:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=20) as answer:
        members: dict[str, Any] = json.load(answer)
        return members


def judged_by_node(issuer: str, audience: str, tokens: list[str]) -> list[dict[str, Any]]:
    """What jose says to each token, with keys that it fetches from the server."""
    command = ["node", "verify.mjs", f"{issuer}/.well-known/jwks.json", issuer, audience]
    said = subprocess.run(
        command, cwd=NODE, input="\n".join(tokens), capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stderr
    return [json.loads(line) for line in said.stdout.splitlines()]


@pytest.mark.node
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_node_verifies_our_tokens_and_refuses_forgeries(
    node: None, tmp_path: Path, algorithm: str
) -> None:
    """A real server's tokens, with issuer, audience and type; other audiences and changes not."""
    port, credentials = free_port(), {"email": ALICE, "password": PASSWORD}
    settings = {"FOXTROT_DATA_DIR": str(tmp_path), "FOXTROT_PASSWORD_HASH": CHEAP_HASH}
    issuer = f"http://localhost:{port}"
    with serving(port=port, settings={**settings, "FOXTROT_ALGORITHM": algorithm}):
        post(f"{issuer}/auth/register", credentials)
        token = post(f"{issuer}/auth/login", credentials)["access_token"]
        narrow = post(f"{issuer}/auth/login", {**credentials, "audience": issuer})["access_token"]
        good, *bad = judged_by_node(issuer, "notes", [token, narrow, *forgeries(token)])
    assert good == {"claims": claims_of(token), "header": header_of(token)}
    assert bad[0] == {"refused": "ERR_JWT_CLAIM_VALIDATION_FAILED"}
    assert bad[1] == bad[3] == {"refused": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}
    assert all(verdict.keys() == {"refused"} for verdict in bad)
