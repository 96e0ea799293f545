"""A service whose issuer stops, or hangs: keys and lists together, as `Verifier` has both."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from foxtrot import IssuerKeys, StatusLists, Verifier, status
from foxtrot.status import GRACE_SECONDS
from tests.verifier.lists import PATH, mint_list, place
from tests.verifier.minting import AUDIENCE, NOW, Clock, Mint, SigningKey, refusal_of
from tests.verifier.site import JWKS, METADATA, Site, seconds

TTL = 10
HOUR = 3600
DAY = 24 * HOUR
ENDED = 7
"""The one session that has ended before the outage."""


@dataclass
class Service:
    """A verifier that finds everything by the issuer's URL, and people who are signed in."""

    verifier: Verifier
    clocks: tuple[Clock, Clock]
    texts: list[str]
    ended: str

    def answers_all(self) -> None:
        """Everybody who is signed in gets in."""
        assert {self.verifier.verify(text).subject for text in self.texts} == {"u_alice"}

    def pass_time(self, by: float) -> None:
        for clock in self.clocks:
            clock.advance(by)


@pytest.fixture
def service(site: Site, es_key: SigningKey, mint: Mint) -> Service:
    """It has been in use: keys and list are at hand."""
    site.publish(es_key)
    site.serve(PATH, mint_list(mint, [ENDED], {"iat": NOW}, issuer=site.url).encode())
    clock, uptime = Clock(NOW), Clock(1000)
    keys = IssuerKeys(site.url, clock=uptime)
    lists = StatusLists(site.url, (keys,), clock=clock, uptime=uptime)
    verifier = Verifier(site.url, AUDIENCE, keys=[keys], status=lists, clock=clock)

    def token(index: int) -> str:
        return mint({"iss": site.url, "exp": NOW + DAY, **place(index, site.url + PATH)})

    texts = [token(100 + index) for index in range(20)]
    service = Service(verifier, (clock, uptime), texts, token(ENDED))
    service.answers_all()
    return service


@pytest.mark.parametrize("how", ["stopped", "hangs"])
def test_an_hour_without_the_issuer_changes_nothing_for_who_is_signed_in(
    service: Service, site: Site, how: str
) -> None:
    """Once it is known that it is away nobody waits for it; who was put out stays out."""
    for path in (METADATA, JWKS, PATH):
        site.hang(path) if how == "hangs" else site.serve(path, b"", 503)
    service.pass_time(TTL + GRACE_SECONDS + 1)
    service.answers_all()
    for _ in range(HOUR // 30):
        service.pass_time(30)
        assert seconds(service.answers_all) < status.WAIT_SECONDS
        assert refusal_of(service.verifier, service.ended).reason == "revoked"
