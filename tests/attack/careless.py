"""Services that check tokens, each but for one thing; never copy from here."""

from __future__ import annotations

import hmac
import json
import time
import traceback
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask, redirect, request
from flask.typing import ResponseReturnValue
from jwt.algorithms import ECAlgorithm
from werkzeug.serving import WSGIRequestHandler, make_server

from foxtrot import InvalidToken, JWKSet, KeySource, Token, signature, status_list
from foxtrot.claims import shape_reasons, type_reasons, value_reasons
from foxtrot.jwk import Key

Claims = dict[str, Any]


@dataclass(frozen=True)
class Lists:
    """The status lists of a login service in this process, asked for each time anew."""

    login: Flask
    issuer: str
    keys: KeySource

    def ended(self, token: Token) -> bool:
        return self.say_ended(token.claims)

    def say_ended(self, claims: Mapping[str, Any]) -> bool:
        place = claims["status"]["status_list"]
        path = place["uri"].removeprefix(self.issuer)
        text = self.login.test_client().get(path, base_url=self.issuer).text
        found = status_list.read(text, place["uri"], self.issuer, (self.keys,), now=time.time())
        return bool(found.statuses[place["idx"]])


@dataclass(frozen=True)
class Service:
    """What a service knows: the issuer, its keys and lists, and its own name and scope."""

    issuer: str
    jwks: dict[str, Any]
    login: Flask
    audience: str = "notes"
    scope: str = "notes:read"
    clock: Callable[[], float] = time.time

    def signed(self, text: str) -> signature.Signed:
        """Verify the signature as one should."""
        return signature.check(text, JWKSet(self.jwks))

    def judge(self, signed: signature.Signed, *but: str) -> Claims:
        """Judge the claims as one should, but for some reasons."""
        reasons = type_reasons(signed.header) | shape_reasons(signed.claims)
        now = self.clock()
        reasons |= value_reasons(signed.claims, self.issuer, self.audience, now, 30)
        if reasons - {*but}:
            raise InvalidToken(reasons - {*but})
        if Lists(self.login, self.issuer, JWKSet(self.jwks)).say_ended(signed.claims):
            raise InvalidToken("revoked")
        return dict(signed.claims)

    @property
    def key(self) -> Any:
        """The one public key."""
        return ECAlgorithm(ECAlgorithm.SHA256).from_jwk(self.jwks["keys"][0])


Check = Callable[[Service, str], Claims]


def careful(service: Service, text: str) -> Claims:
    """Leaves nothing out."""
    return service.judge(service.signed(text))


def but_for(*reasons: str) -> Check:
    """Leaves out one question about the claims."""
    return lambda service, text: service.judge(service.signed(text), *reasons)


def audience_by_substring(service: Service, text: str) -> Claims:
    claims = service.judge(service.signed(text), "wrong_audience")
    if service.audience not in str(claims["aud"]):
        raise InvalidToken("wrong_audience")
    return claims


def issuer_by_prefix(service: Service, text: str) -> Claims:
    claims = service.judge(service.signed(text), "wrong_issuer")
    if not claims["iss"].startswith(service.issuer):
        raise InvalidToken("wrong_issuer")
    return claims


def no_signature(service: Service, text: str) -> Claims:
    header, claims, _ = (*text.split("."), "", "")[:3]
    return service.judge(signature.Signed(_json(header), _tuples(_json(claims))))


def none_algorithm(service: Service, text: str) -> Claims:
    if str(_json(text.split(".")[0]).get("alg")).lower() == "none":
        return no_signature(service, text)
    return careful(service, text)


def public_key_as_secret(service: Service, text: str) -> Claims:
    if _json(text.split(".")[0]).get("alg") != "HS256":
        return careful(service, text)
    pem = service.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return service.judge(_signed_with(pem, text))


def brought_jwk(service: Service, text: str) -> Claims:
    jwk = _json(text.split(".")[0]).get("jwk")
    return careful(service, text) if jwk is None else _with_keys(service, [jwk], text)


def fetched_jku(service: Service, text: str) -> Claims:
    jku = _json(text.split(".")[0]).get("jku")
    if jku is None:
        return careful(service, text)
    with urlopen(jku, timeout=2) as answer:
        return _with_keys(service, json.load(answer)["keys"], text)


def curious_x5u(service: Service, text: str) -> Claims:
    """Fetches, and uses nothing of it."""
    if x5u := _json(text.split(".")[0]).get("x5u"):
        urlopen(x5u, timeout=2).close()
    return careful(service, text)


def kid_as_path(service: Service, text: str) -> Claims:
    header = _json(text.split(".")[0])
    path = Path("/proc/self", str(header.get("kid")).replace("\0", ""))
    if header.get("alg") == "HS256" and len(str(path)) < 200 and path.exists():
        return service.judge(_signed_with(path.read_bytes(), text))
    return careful(service, text)


def crit_ignored(service: Service, text: str) -> Claims:
    """Verifies the signature, and does not look at what the header demands."""
    head, claims, last = text.split(".")
    key = Key.from_jwk(service.jwks["keys"][0])
    if "crit" in _json(head) and key.verify(f"{head}.{claims}".encode(), _bytes(last)):
        return service.judge(signature.Signed(_json(head), _tuples(_json(claims))))
    return careful(service, text)


def crashing(service: Service, text: str) -> Claims:
    _json(text.split(".")[0])["alg"].lower()
    return careful(service, text)


CHECKS: dict[str, Check] = {
    "careful": careful,
    "no audience": but_for("wrong_audience"),
    "audience by substring": audience_by_substring,
    "no issuer": but_for("wrong_issuer"),
    "issuer by prefix": issuer_by_prefix,
    "no expiry": but_for("expired"),
    "no missing claims": but_for("missing_claim", "bad_claim"),
    "no nbf": but_for("not_yet_valid"),
    "no type": but_for("wrong_type"),
    "no signature": no_signature,
    "none": none_algorithm,
    "public key as secret": public_key_as_secret,
    "jwk": brought_jwk,
    "jku": fetched_jku,
    "x5u": curious_x5u,
    "kid as path": kid_as_path,
    "crit": crit_ignored,
    "crashing": crashing,
}


def make_app(service: Service, check: str = "careful", *, scope: str = "whole") -> Flask:
    """A service with one route for notes.

    :param scope: how the scope is looked for: `whole`, `substring` or not at all, `none`.
    """
    app = Flask(__name__)

    @app.get("/notes")
    def notes() -> ResponseReturnValue:
        text = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            given = str(CHECKS[check](service, text).get("scope", ""))
        except InvalidToken:
            return {"detail": "no"}, 401
        words: Any = given if scope == "substring" else given.split()
        return ({}, 200) if scope == "none" or service.scope in words else ({}, 403)

    @app.get("/open")
    def open_to_all() -> ResponseReturnValue:
        return {}

    @app.get("/talkative")
    def talkative() -> ResponseReturnValue:
        try:
            careful(service, request.headers.get("Authorization", "").removeprefix("Bearer "))
        except InvalidToken:
            return traceback.format_exc(), 401
        return {}

    @app.get("/page")
    def page() -> ResponseReturnValue:
        try:
            careful(service, request.headers.get("Authorization", "").removeprefix("Bearer "))
        except InvalidToken:
            return redirect("/open", 302)
        return {}

    return app


class Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    def log_request(self, *_: object) -> None:
        pass


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve an app on a port of this machine, and give its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _with_keys(service: Service, keys: list[Any], text: str) -> Claims:
    return service.judge(signature.check(text, JWKSet({"keys": keys})))


def _signed_with(secret: bytes, text: str) -> signature.Signed:
    """Verify HS256 with whatever secret."""
    head, claims, last = text.split(".")
    if hmac.digest(secret, f"{head}.{claims}".encode(), "sha256") != _bytes(last):
        raise InvalidToken("bad_signature")
    return signature.Signed(_json(head), _tuples(_json(claims)))


def _bytes(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _json(segment: str) -> Claims:
    try:
        members: Claims = json.loads(_bytes(segment))
    except (ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    if not isinstance(members, dict):
        raise InvalidToken("malformed")
    return members


def _tuples(claims: Claims) -> Claims:
    return {n: tuple(v) if isinstance(v, list) else v for n, v in claims.items()}
