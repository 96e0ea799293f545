"""Keys made in this process, a mint, a clock that stands still, a verifier of good tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from foxtrot import IssuerKeys, JWKSet, Verifier, fetch
from foxtrot.flask import Bearer
from tests.verifier.minting import (
    AUDIENCE,
    ISSUER,
    NOW,
    Clock,
    Mint,
    SigningKey,
    make_eddsa,
    make_es256,
    make_hs256,
    make_rs256,
)
from tests.verifier.service import Notes
from tests.verifier.site import Site


@pytest.fixture(scope="session")
def es_key() -> SigningKey:
    return make_es256()


@pytest.fixture(scope="session")
def ed_key() -> SigningKey:
    return make_eddsa()


@pytest.fixture(scope="session")
def rs_key() -> SigningKey:
    return make_rs256()


@pytest.fixture(scope="session")
def hs_key() -> SigningKey:
    return make_hs256()


@pytest.fixture(scope="session")
def keys(es_key: SigningKey, ed_key: SigningKey, rs_key: SigningKey) -> JWKSet:
    """The set that the issuer publishes."""
    return JWKSet({"keys": [es_key.jwk, ed_key.jwk, rs_key.jwk]})


@pytest.fixture(scope="session")
def mint(es_key: SigningKey) -> Mint:
    """Signs with the first key of the set unless it is given another."""
    return Mint(es_key)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(keys: JWKSet, clock: Clock) -> Verifier:
    """The notes service's verifier, whose time is *clock*."""
    return Verifier(ISSUER, AUDIENCE, keys=[keys], clock=clock)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An issuer's web server on this machine, reached without any proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Site() as site:
        yield site


@pytest.fixture
def bearer(keys: JWKSet) -> Bearer:
    """The guard of the notes service."""
    return Bearer(ISSUER, AUDIENCE, keys=[keys], clock=Clock())


@pytest.fixture
def app(bearer: Bearer) -> Notes:
    return Notes(bearer)


@pytest.fixture
def client(app: Notes) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch may take less than half a second."""
    monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.4)


@pytest.fixture
def uptime() -> Clock:
    """The monotonic clock of the source."""
    return Clock(1000)


@pytest.fixture
def source(site: Site, uptime: Clock, es_key: SigningKey) -> IssuerKeys:
    """The keys of an issuer that publishes one."""
    site.publish(es_key)
    return IssuerKeys(site.url, clock=uptime)


@pytest.fixture
def remote(site: Site, source: IssuerKeys) -> Verifier:
    """A verifier whose keys come over the network."""
    return Verifier(site.url, AUDIENCE, keys=[source], clock=Clock(NOW))
