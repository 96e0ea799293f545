"""Keys fetched from an issuer: where they are looked for, and answers not to be believed.

The source's own clock is set by hand; only the time-outs of the network are real,
and shortened.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from foxtrot import IssuerKeys, PublicKey, Unavailable, Verifier, fetch
from foxtrot.fetch import MAX_ANSWER_BYTES
from foxtrot.issuer import RETRY_SECONDS, metadata_url
from tests.verifier.minting import (
    AUDIENCE,
    ISSUER,
    NOW,
    Clock,
    Mint,
    SigningKey,
    certificate_of,
    make_es256,
)
from tests.verifier.site import FETCH, HEAD, JWKS, METADATA, Site, refetch, seconds

# Finding the keys


def test_keys_are_found_through_the_metadata(source: IssuerKeys, site: Site) -> None:
    """RFC 8414: the metadata name the JWK Set."""
    key = source.find("es-1", "ES256")
    assert key is not None
    assert key.kid == "es-1"
    assert site.requests == FETCH


def test_a_verifier_needs_nothing_but_the_issuer(
    site: Site, es_key: SigningKey, mint: Mint
) -> None:
    """Without any key setting the keys come from the issuer."""
    site.publish(es_key)
    verifier = Verifier(site.url, AUDIENCE, clock=Clock(NOW))
    assert verifier.verify(mint({"iss": site.url})).subject == "u_alice"


def test_nothing_is_fetched_before_the_first_token(site: Site, es_key: SigningKey) -> None:
    """A service starts while the issuer is down, and forks after it was set up."""
    site.publish(es_key)
    Verifier(site.url, AUDIENCE)
    IssuerKeys(site.url)
    assert site.requests == []


@pytest.mark.parametrize(
    ("issuer_url", "url"),
    [
        ("https://a.example", "https://a.example/.well-known/oauth-authorization-server"),
        ("https://a.example/", "https://a.example/.well-known/oauth-authorization-server"),
        ("https://a.example:8443", "https://a.example:8443/.well-known/oauth-authorization-server"),
        ("https://a.example/x", "https://a.example/.well-known/oauth-authorization-server/x"),
        ("https://a.example/X", "https://a.example/.well-known/oauth-authorization-server/X"),
        ("https://a.example/x/y/", "https://a.example/.well-known/oauth-authorization-server/x/y"),
    ],
)
def test_the_well_known_path_goes_before_the_issuers_own(issuer_url: str, url: str) -> None:
    """RFC 8414 section 3.1, with and without a path."""
    assert metadata_url(issuer_url) == url


def test_an_issuer_under_a_path_is_found(site: Site, es_key: SigningKey) -> None:
    """Several issuers may share a host."""
    url = f"{site.url}/team/blue"
    site.serve(METADATA + "/team/blue", {"issuer": url, "jwks_uri": f"{url}/keys"})
    site.serve("/team/blue/keys", {"keys": [es_key.jwk]})
    assert IssuerKeys(url).find("es-1", "ES256")


def test_a_jwks_uri_of_ones_own_is_used_as_it_is(site: Site, es_key: SigningKey) -> None:
    """A service that reaches the issuer by an inner address asks there alone."""
    site.serve("/inner", {"keys": [es_key.jwk]})
    assert IssuerKeys("https://login.example.com", jwks_uri=f"{site.url}/inner").find(
        "es-1", "ES256"
    )
    assert site.requests == ["/inner"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "notes",
        "login.example.com",
        "//login.example.com",
        "ftp://a.example",
        "http://",
        "file:///etc/passwd",
        "data:application/json,{}",
        "javascript:alert(1)",
        "http:///keys",
    ],
)
@pytest.mark.parametrize("setting", ["issuer", "jwks_uri"])
def test_an_address_that_is_not_on_the_web_is_refused(url: str, setting: str) -> None:
    """Files and the like are never opened as if they were an issuer."""
    settings: dict[str, Any] = {"issuer": "https://login.example.com", setting: url}
    with pytest.raises(ValueError, match="not an http"):
        IssuerKeys(**settings)


@pytest.mark.parametrize(
    ("settings", "is_warned"),
    [
        ({"issuer": "http://login.example.com"}, True),
        ({"issuer": "http://10.0.0.5:5000"}, True),
        ({"issuer": "https://login.example.com"}, False),
        ({"issuer": "http://127.0.0.1:5000"}, False),
        ({"issuer": "http://[::1]:5000"}, False),
        ({"issuer": "http://login.localhost:5000"}, False),
        ({"issuer": "http://login.example.com", "jwks_uri": "http://10.0.0.5/keys"}, False),
    ],
)
def test_keys_that_come_without_tls_are_warned_of(
    settings: dict[str, Any], is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, at the start; within this machine it does not matter, an inner address is meant."""
    Verifier(settings["issuer"], "notes", keys=[IssuerKeys(**settings)])
    assert ("without TLS" in caplog.text) == is_warned
    assert len(caplog.records) == is_warned


@pytest.mark.parametrize(
    "claimed",
    ["{url}/", "{url}/x", "https://login.example.com", "HTTP://127.0.0.1", "", None, 5, ["{url}"]],
    ids=repr,
)
def test_metadata_of_another_issuer_are_refused(
    claimed: Any, source: IssuerKeys, site: Site
) -> None:
    """RFC 8414 section 3.3: `issuer` must be the very one that was asked."""
    name = claimed.replace("{url}", site.url) if isinstance(claimed, str) else claimed
    site.serve(METADATA, {"issuer": name, "jwks_uri": site.url + JWKS})
    with pytest.raises(Unavailable, match="not those of") as caught:
        source.find("es-1", "ES256")
    if isinstance(name, str):
        assert f"they are of {name!r}" in str(caught.value)
    assert JWKS not in site.requests


def test_a_foreign_name_in_the_message_is_short_and_printable(
    source: IssuerKeys, site: Site
) -> None:
    """It comes from whoever answers there."""
    site.serve(METADATA, {"issuer": "\n\x1b\u202e" * 1000, "jwks_uri": site.url + JWKS})
    with pytest.raises(Unavailable, match="they are of") as caught:
        source.find("es-1", "ES256")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


def test_https_where_http_is_spoken_is_said(site: Site) -> None:
    """A frequent mistake, and what Python calls it helps nobody."""
    with pytest.raises(Unavailable, match="perhaps plain http is spoken there"):
        IssuerKeys(site.url.replace("http:", "https:")).find("es-1", "ES256")


@pytest.mark.parametrize("text", [[], "x", 5, None, True], ids=repr)
def test_metadata_that_are_no_object_are_nobodys(text: Any, source: IssuerKeys, site: Site) -> None:
    """They are refused like those of another issuer, by the thread that goes on."""
    site.serve(METADATA, text)
    with pytest.raises(Unavailable, match="not those of"):
        source.find("es-1", "ES256")


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:1/jwks.json",
        "http://localhost:{port}/jwks.json",
        "https://127.0.0.1:{port}/jwks.json",
        "http://127.0.0.1:{port}@evil.example/jwks.json",
        "http://evil@127.0.0.1:{port}/jwks.json",
        "http://127.0.0.1/jwks.json",
        "http://127.0.0.1:{port}.evil.example/jwks.json",
        "file:///jwks.json",
        "/jwks.json",
        "//127.0.0.1:{port}/jwks.json",
        "",
        None,
        5,
        ["http://127.0.0.1:{port}/jwks.json"],
        "http://[",
        "http://\ud800/",
    ],
    ids=ascii,
)
def test_a_jwks_uri_elsewhere_is_refused(uri: Any, source: IssuerKeys, site: Site) -> None:
    """Metadata cannot send the verifier to another scheme, host or port."""
    port = site.url.rpartition(":")[2]
    place = uri.replace("{port}", port) if isinstance(uri, str) else uri
    site.serve(METADATA, {"issuer": site.url, "jwks_uri": place})
    with pytest.raises(Unavailable):
        source.find("es-1", "ES256")
    assert site.requests == [METADATA]


def test_an_issuer_without_a_jwks_uri_shares_a_secret(source: IssuerKeys, site: Site) -> None:
    """Whoever forgot to configure the secret learns it from the error."""
    site.serve(METADATA, {"issuer": site.url})
    with pytest.raises(Unavailable, match="give the secret"):
        source.find("es-1", "ES256")


# Over TLS


def tls_site(path: Path, host: str = "127.0.0.1") -> Site:
    """A web server whose certificate lies at *path*, with its key."""
    key = make_es256()
    assert isinstance(key.private, ec.EllipticCurvePrivateKey)
    secret = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate_of(key, host))
    return Site(path)


def test_keys_are_found_over_https(
    tmp_path: Path, es_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer whose certificate is trusted is asked as usual."""
    with tls_site(tmp_path / "tls.pem") as site:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.pem"))
        site.publish(es_key)
        assert IssuerKeys(site.url).find("es-1", "ES256")


def test_an_issuer_with_a_certificate_of_nobody_is_not_believed(
    tmp_path: Path, es_key: SigningKey
) -> None:
    """Whoever can answer in the issuer's place could sign in everybody's name."""
    with tls_site(tmp_path / "tls.pem") as site:
        site.publish(es_key)
        with pytest.raises(Unavailable, match="certificate"):
            IssuerKeys(site.url).find("es-1", "ES256")
        assert site.requests == []


def test_an_issuer_with_a_certificate_of_another_host_is_not_believed(
    tmp_path: Path, es_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted certificate is one for that very address."""
    with tls_site(tmp_path / "tls.pem", "127.0.0.2") as site:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.pem"))
        site.publish(es_key)
        with pytest.raises(Unavailable, match="certificate"):
            IssuerKeys(site.url).find("es-1", "ES256")


@pytest.mark.usefixtures("quick")
def test_a_dripping_handshake_does_not_hold_the_source_for_ever(uptime: Clock) -> None:
    """A server that begins to speak TLS and never ends is left, and tried again later."""
    with socket.create_server(("127.0.0.1", 0)) as server, Dripping(server) as dripping:
        source = IssuerKeys(f"https://127.0.0.1:{server.getsockname()[1]}", clock=uptime)
        for _ in range(2):
            with pytest.raises(Unavailable):
                source.find("es-1", "ES256")
            uptime.advance(RETRY_SECONDS)
        assert dripping.connections == 2


class Dripping:
    """Answers each connection with the head of a long TLS record, and then byte by byte."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self.connections = 0

    def __enter__(self) -> Dripping:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                self._start(self._drip, connection)

    def _drip(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
            while not self._closing.wait(0.02):
                connection.sendall(b"\0")


# Hostile and broken answers


@pytest.mark.usefixtures("quick")
def test_an_answer_that_was_cut_is_not_taken_for_whole(site: Site) -> None:
    """Without a length it ends where the connection does, which is here where time was over."""
    site.drip("/list", b"HTTP/1.1 200 OK\r\n\r\n[1, 2]", b" ")
    with pytest.raises(TimeoutError, match="longer than"):
        fetch.get(f"{site.url}/list")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", FETCH)
def test_a_redirect_is_not_followed(
    status: int, path: str, source: IssuerKeys, site: Site, es_key: SigningKey
) -> None:
    """An open redirect at the issuer must not become a way to other keys."""
    site.serve("/elsewhere", {"issuer": site.url, "jwks_uri": site.url + JWKS, "keys": []})
    site.serve(path, b"", status, {"Location": "/elsewhere"})
    with pytest.raises(Unavailable, match=str(status)):
        source.find("es-1", "ES256")
    assert "/elsewhere" not in site.requests


@pytest.mark.parametrize("path", FETCH)
def test_an_oversize_answer_is_refused(path: str, source: IssuerKeys, site: Site) -> None:
    """An answer past the limit is not read to its end, even were it good."""
    good = {"issuer": site.url, "jwks_uri": site.url + JWKS, "keys": []}
    site.serve(path, json.dumps(good).encode() + b" " * MAX_ANSWER_BYTES)
    with pytest.raises(Unavailable, match="larger than"):
        source.find("es-1", "ES256")


def test_an_answer_just_below_the_limit_is_read(
    source: IssuerKeys, site: Site, es_key: SigningKey
) -> None:
    """The limit is meant for attacks, not for issuers."""
    good = json.dumps({"keys": [es_key.jwk]}).encode()
    site.serve(JWKS, good + b" " * (MAX_ANSWER_BYTES - len(good)))
    assert source.find("es-1", "ES256")


DRIPS = {
    "body": (HEAD + b"Content-Length: 9999\r\n\r\n", b" "),
    "headers": (HEAD, b"X: y\r\n"),
    "one header": (HEAD + b"X: ", b"y"),
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "size of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1", b"0"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("where", DRIPS)
@pytest.mark.usefixtures("quick")
def test_a_dripping_answer_does_not_hold_the_source_for_ever(
    where: str, source: IssuerKeys, site: Site, uptime: Clock, es_key: SigningKey
) -> None:
    """However slowly an answer arrives, the fetch ends and a later one succeeds."""
    site.drip(METADATA, *DRIPS[where])
    with pytest.raises(Unavailable):
        source.find("es-1", "ES256")
    site.publish(es_key)
    uptime.advance(RETRY_SECONDS)
    assert source.find("es-1", "ES256")


@pytest.mark.usefixtures("quick")
def test_an_issuer_that_hangs_is_given_up(source: IssuerKeys, site: Site) -> None:
    """A request waits for one fetch and its time-out, no longer."""
    site.hang(METADATA)

    def find() -> None:
        with pytest.raises(Unavailable):
            source.find("es-1", "ES256")

    assert seconds(find) < 3


def broken_sets(es_key: SigningKey) -> dict[str, tuple[int, bytes]]:
    """Answers at the set's address that are not to be believed, with their status."""
    good, other = es_key.jwk, make_es256("es-2").jwk
    unusable: list[object] = [
        None,
        [],
        {},
        {"keys": None},
        {"keys": {"es-2": other}},
        {"keys": [other, 5]},
        {"keys": [other, other]},
        {"keys": [other, {"kty": "oct", "k": "AAAA", "kid": "s"}]},
        {"keys": [other | {"d": "AAAA"}]},
        {"keys": [other | {"kid": f"k{number}"} for number in range(101)]},
    ]
    bodies = [json.dumps(document).encode() for document in unusable]
    bodies += [b"", b"{", b"<html>", b"\xff\xfe\xfa", b"[" * 100_000, json.dumps(good).encode()]
    answers = {f"answer {number}": (200, body) for number, body in enumerate(bodies)}
    fine = json.dumps({"keys": [other]}).encode()
    return answers | {f"status {status}": (status, fine) for status in (400, 401, 404, 500, 503)}


@pytest.mark.parametrize("name", broken_sets(make_es256()))
def test_a_broken_answer_never_replaces_good_keys(
    name: str, source: IssuerKeys, site: Site, uptime: Clock, es_key: SigningKey
) -> None:
    """The keys at hand stay in use until a good set comes."""
    assert source.find("es-1", "ES256")
    status, body = broken_sets(es_key)[name]
    site.serve(JWKS, body, status)
    refetch(source, uptime)
    assert site.requests.count(JWKS) == 2
    assert source.find("es-1", "ES256")


def test_a_cut_off_answer_never_replaces_good_keys(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """A connection that breaks in the middle leaves everything as it was."""
    assert source.find("es-1", "ES256")
    site.break_off(JWKS, HEAD + b"Content-Length: 999\r\n\r\n" + b'{"keys": [')
    refetch(source, uptime)
    assert source.find("es-1", "ES256")


def test_an_answer_that_is_shorter_than_announced_never_replaces_good_keys(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """RFC 9112 section 8: what breaks off is incomplete, even where it reads as a whole."""
    assert source.find("es-1", "ES256")
    site.break_off(JWKS, HEAD + b"Content-Length: 999\r\n\r\n" + b'{"keys": []}')
    refetch(source, uptime)
    assert source.find("es-1", "ES256")


def test_broken_metadata_never_replace_good_keys(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """The same for the first of the two documents."""
    assert source.find("es-1", "ES256")
    site.serve(METADATA, {"issuer": "https://evil.example", "jwks_uri": site.url + JWKS})
    refetch(source, uptime)
    assert site.requests.count(METADATA) == 2
    assert source.find("es-1", "ES256")


def test_a_broken_answer_is_told_in_the_log(
    source: IssuerKeys, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator learns whose keys could not be fetched, and why."""
    site.serve(METADATA, b"", 503)
    with caplog.at_level(logging.WARNING, "foxtrot"), pytest.raises(Unavailable):
        source.find("es-1", "ES256")
    assert site.url in caplog.text
    assert "503" in caplog.text


def test_an_unreadable_kid_does_not_stop_the_source(
    source: IssuerKeys, site: Site, es_key: SigningKey
) -> None:
    """A key whose name cannot be encoded is passed over, or at least never found."""
    site.serve(JWKS, {"keys": [es_key.jwk | {"kid": "\ud800", "use": "enc"}, es_key.jwk]})
    assert source.find("es-1", "ES256")


def test_a_source_survives_any_number_of_failures(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """After each of them the next fetch is made."""
    assert source.find("es-1", "ES256")
    for body in (b"{", b"[]", b"\xff", b"null"):
        site.serve(JWKS, body)
        refetch(source, uptime)
    assert site.requests.count(JWKS) == 5


def test_during_a_move_what_one_source_does_not_know_another_may(mint: Mint, clock: Clock) -> None:
    """A token of the new key is not called forged while the new keys cannot be had."""
    sources = (PublicKey(make_es256("old").pem), IssuerKeys("http://127.0.0.1:1"))
    both = Verifier(ISSUER, AUDIENCE, keys=sources, clock=clock)
    with pytest.raises(Unavailable):
        both.verify(mint())
