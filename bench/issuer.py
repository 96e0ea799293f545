"""A login service as a guard in a service meets it, for the benches beside it.

A process of its own answers over HTTP with the issuer's metadata, its keys and its status
list, signed and tagged as the real one signs and tags them: 2^20 sessions, ten thousand of
which have ended, a `ttl` of ten seconds. It answers a conditional request with a bare 304.
Tokens are signed in the process of the bench.
"""

from __future__ import annotations

import base64
import json
import multiprocessing
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foxtrot import status_list
from foxtrot.status_list import StatusList

SIZE: Final = 2**20
TTL: Final = 10
LIFETIME: Final = 86_400
"""Of a list, as `app/status_lists.py` has it: sessions, seconds, seconds."""

AUDIENCE: Final = "notes"
SCOPE: Final = "notes:read"
SECRET: Final = secrets.token_bytes(32)
PRIVATE_KEY: Final = generate_private_key(SECP256R1())
PUBLIC_KEY: Final = PRIVATE_KEY.public_key()
PEM: Final = PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

ENDED: Final = tuple(random.sample(range(SIZE // 2, SIZE), 10_000))
"""The places of the sessions that have ended; those in the first half of the list live."""

FORK: Final = multiprocessing.get_context("fork")

Page = tuple[str, bytes]
"""A media type and a body."""


class Issuer:
    """Signs with one algorithm; its process runs until it is stopped."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._key = SECRET if algorithm == "HS256" else PRIVATE_KEY
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._process = FORK.Process(target=self._serve, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._process.start()
        self._server.server_close()  # it is the other process's now

    def stop(self) -> None:
        """From now on connections are refused."""
        self._process.kill()
        self._process.join()

    def _serve(self) -> None:
        Handler.pages = self._pages()
        self._server.serve_forever()

    def _pages(self) -> dict[str, Page]:
        """What it answers, by path."""
        numbers = PUBLIC_KEY.public_numbers()
        jwk = {"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256"}
        point = {"x": base64url(numbers.x), "y": base64url(numbers.y)}
        metadata = {"issuer": self.url, "jwks_uri": f"{self.url}/.well-known/jwks.json"}
        return {
            "/.well-known/oauth-authorization-server": page(metadata),
            "/.well-known/jwks.json": page({"keys": [jwk | point]}),
            "/status-lists/0": (status_list.MEDIA_TYPE, self._status_list().encode()),
        }

    def _status_list(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": f"{self.url}/status-lists/0",
            "iat": now,
            "exp": now + LIFETIME,
            "ttl": TTL,
            "status_list": StatusList.of(ENDED, SIZE).encode(),
        }
        return self._encode(claims, status_list.TYPE)

    def sign(self, number: int, place: int | None = None) -> str:
        """Sign an access token, distinct for each number, of the session at *place*."""
        if place is None:
            place = number % (SIZE // 2)
        return self._encode(self._claims(f"{number:022d}", place), "at+jwt")

    def _claims(self, token_id: str, place: int) -> dict[str, Any]:
        """Give the claims that the login service writes."""
        now = int(time.time())
        return {
            "iss": self.url,
            "sub": "u_2f7dkq0e4n8s",
            "uid": "u_2f7dkq0e4n8s",
            "aud": [AUDIENCE],
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "jti": token_id,
            "sid": "4cEo1uA0wLq2Zt6RkXyPbg",
            "scope": "notes:read notes:write",
            "client_id": "foxtrot",
            "auth_time": now,
            "status": {"status_list": {"idx": place, "uri": f"{self.url}/status-lists/0"}},
        }

    def _encode(self, claims: dict[str, Any], typ: str) -> str:
        return jwt.encode(claims, self._key, self.algorithm, {"typ": typ, "kid": "k1"})


class Handler(BaseHTTPRequestHandler):
    """Answers with the pages of its process."""

    pages: dict[str, Page] = {}  # noqa: RUF012  # set once, in the process that serves

    def do_GET(self) -> None:
        """A page, or that it has not changed."""
        if self.path not in self.pages:
            self.send_error(404)
            return
        if self.headers.get("If-None-Match") == '"1"':
            self.send_response(304)
            self.end_headers()
            return
        media_type, body = self.pages[self.path]
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Be silent."""


def base64url(number: int) -> str:
    """Write a coordinate as a JWK has it (RFC 7518 section 6.2.1.2)."""
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def page(members: dict[str, Any]) -> Page:
    """Write JSON."""
    return "application/json", json.dumps(members).encode()


@contextmanager
def running(algorithm: str) -> Iterator[Issuer]:
    """Let an issuer run."""
    issuer = Issuer(algorithm)
    issuer.start()
    try:
        yield issuer
    finally:
        issuer.stop()
