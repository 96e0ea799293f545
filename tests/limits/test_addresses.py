"""Where a request comes from: what counts as one address, and what nobody can pretend."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from app.client import address_behind, network
from tests.conftest import MakeApp
from tests.limits.conftest import WRONG, statuses, try_password
from tests.support import ORIGIN

HEADERS = ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP"]


def try_pretending(client: FlaskClient, email: str, headers: dict[str, str]) -> int:
    """Log in with headers that say from where."""
    body = {"email": email, "password": WRONG}
    return client.post("/auth/login", json=body, headers=headers, base_url=ORIGIN).status_code


@pytest.mark.parametrize("header", HEADERS)
def test_without_a_proxy_no_header_is_looked_at(make_app: MakeApp, alice: str, header: str) -> None:
    """Another address in each try is the same one, by default."""
    client = make_app().test_client()
    tried = [
        try_pretending(client, alice, {header: f"192.0.2.{number}", "X-Forwarded-Proto": "https"})
        for number in range(11)
    ]
    assert tried == [401] * 10 + [429]


def test_behind_a_proxy_what_came_before_it_is_not_looked_at(
    client: FlaskClient, alice: str
) -> None:
    """Only what the proxy itself adds, at the right."""
    tried = [
        try_pretending(client, alice, {"X-Forwarded-For": f"192.0.2.{number}, 203.0.113.7"})
        for number in range(11)
    ]
    assert tried == [401] * 10 + [429]
    assert try_pretending(client, alice, {"X-Forwarded-For": "203.0.113.7, 192.0.2.1"}) == 401


def test_behind_two_proxies_the_second_from_the_right_counts(make_app: MakeApp, alice: str) -> None:
    """The right one is that of our own proxy."""
    client = make_app(FOXTROT_TRUSTED_PROXIES="2").test_client()
    tried = [
        try_pretending(client, alice, {"X-Forwarded-For": f"9.9.9.9, 203.0.113.7, 10.0.0.{number}"})
        for number in range(11)
    ]
    assert tried == [401] * 10 + [429]


def test_ipv6_is_counted_by_its_first_half(client: FlaskClient, alice: str) -> None:
    """Whoever has one address has all of a /64; the neighbour is somebody else."""
    mine = [f"2001:db8:1:2::{number:x}" for number in range(11)]
    tried = [try_password(client, alice, address=address).status_code for address in mine]
    assert tried == [401] * 10 + [429]
    assert try_password(client, alice, address="2001:db8:1:3::1").status_code == 401


def test_ipv4_within_ipv6_is_ipv4(client: FlaskClient, alice: str) -> None:
    """However it is written, it is not one /64 for the whole of IPv4."""
    assert statuses(client, alice, 10, address="198.51.100.9") == [401] * 10
    for spelling in ("::ffff:198.51.100.9", "::ffff:c633:6409", "198.51.100.9:4711"):
        assert try_password(client, alice, address=spelling).status_code == 429
    assert try_password(client, alice, address="::ffff:198.51.100.10").status_code == 401


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "1.1.1.1", "9.9.9.9"),
        (1, "", "9.9.9.9"),
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "2.2.2.2,1.1.1.1", "1.1.1.1"),
        (2, "2.2.2.2 , 1.1.1.1", "2.2.2.2"),
        (3, "2.2.2.2, 1.1.1.1", "9.9.9.9"),
        (1, "2.2.2.2,", "9.9.9.9"),
        (1, "unknown", "9.9.9.9"),
        (1, "1.1.1.1:80", "1.1.1.1"),
        (1, "[2001:DB8::1]:80", "2001:db8::1"),
        (1, "[2001:db8::1]", "2001:db8::1"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "1.1.1.1 <script>", "9.9.9.9"),
        (10, ",".join(["1.1.1.1"] * 9), "9.9.9.9"),
    ],
)
def test_the_address_behind_proxies(proxies: int, forwarded: str, address: str) -> None:
    """What is no address, or not there, is that of the connection."""
    assert address_behind(proxies, "9.9.9.9", forwarded) == address


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2002:cb00:7107:99::1", "203.0.113.7"),
        ("::1", "::/64"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
def test_what_stays_of_an_address(address: str, same: str) -> None:
    """Of IPv4 all, of IPv6 the first half."""
    assert network(address) == same
