"""What a fetch asks for, and what it makes of the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest

from foxtrot import fetch
from tests.verifier.site import HEAD, Site, not_found


class Heard:
    """Answers 404, and keeps the headers of the request."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        self.headers = dict(request.headers)
        not_found(request)


def headers_of(site: Site, call: Callable[[str], object]) -> dict[str, str]:
    """What *call*, given an address, sends there."""
    site.answers["/x"] = heard = Heard()
    with pytest.raises(ValueError, match="404"):
        call(f"{site.url}/x")
    return heard.headers


def test_a_fetch_says_what_it_wants_and_nothing_else(site: Site) -> None:
    """No cookie, no compression that could be a bomb, and a connection for one answer."""
    assert headers_of(site, fetch.get) == {
        "Host": site.url.removeprefix("http://"),
        "Accept-Encoding": "identity",
        "Accept": "application/json",
        "User-Agent": "foxtrot",
        "Connection": "close",
    }


def test_a_fetch_shows_the_copy_at_hand(site: Site) -> None:
    """RFC 9110 section 13.1.2, and the type that is wanted instead."""
    sent = headers_of(site, lambda url: fetch.get(url, accept="text/x", known_etag='"one"'))
    assert (sent["Accept"], sent["If-None-Match"]) == ("text/x", '"one"')


@pytest.mark.parametrize(
    ("rest", "target"),
    [("", "/"), ("?a=b", "/?a=b"), ("/c", "/c"), ("/c?a=b&d=e", "/c?a=b&d=e"), ("/c#x", "/c")],
)
def test_the_whole_address_is_asked_for(rest: str, target: str, site: Site) -> None:
    """Path and query as they stand; RFC 9112 section 3.2.1 puts a slash for no path."""
    site.serve(target, [])
    assert fetch.get(site.url + rest).body == b"[]"
    assert site.requests == [target]


def test_what_stands_before_the_host_is_left_out(site: Site) -> None:
    """A name and a password there are for people, and no part of the host."""
    site.serve("/c", [])
    assert fetch.get(site.url.replace("http://", "http://me:secret@") + "/c").body == b"[]"


@pytest.mark.parametrize("url", ["ftp://{host}/x", "//{host}/x", "http:///x", "file:///etc/passwd"])
def test_what_is_not_on_the_web_is_never_asked_for(url: str, site: Site) -> None:
    """Whatever a caller has looked at already, the fetch looks itself."""
    with pytest.raises(ValueError, match="not an http"):
        fetch.get(url.replace("{host}", site.url.removeprefix("http://")))
    assert site.requests == []


def test_an_answer_names_its_tag(site: Site) -> None:
    """By which the next fetch asks whether it has changed."""
    site.serve("/c", [], headers={"ETag": '"one"'})
    assert fetch.get(f"{site.url}/c") == (b"[]", '"one"', True)


def test_a_copy_at_hand_is_kept_only_where_the_answer_says_so(site: Site) -> None:
    """A 304 is no document, and a document is no 304."""
    site.serve("/c", b"", 304)
    assert fetch.get(f"{site.url}/c", known_etag='"one"') == (b"", '"one"', False)
    site.serve("/c", [], headers={"ETag": '"two"'})
    assert fetch.get(f"{site.url}/c", known_etag='"one"') == (b"[]", '"two"', True)


def timers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)}


def test_a_fetch_leaves_no_watchdog_behind(site: Site) -> None:
    """What guards its time ends with it, and holds up no process that wants to end."""
    before = timers()
    site.serve("/c", [])
    release = site.hang("/c")
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(fetch.get, f"{site.url}/c")
        site.wait_for("/c")
        (watchdog,) = timers() - before
        release.set()
    assert fetched.result().body == b"[]"
    watchdog.join(1)
    assert (watchdog.is_alive(), watchdog.daemon) == (False, True)


@pytest.mark.parametrize("start", [HEAD + b"\r\n", b"nonsense\r\n"])
def test_who_sends_too_much_is_hung_up_on(start: bytes, site: Site) -> None:
    """At once, and not when the error has been dealt with."""
    hung_up = threading.Event()

    def pour(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(start)
        try:
            while True:
                request.wfile.write(bytes(65_536))
        except OSError:
            hung_up.set()
            raise

    site.answers["/c"] = pour
    with pytest.raises(fetch.FAILURES) as caught:
        fetch.get(f"{site.url}/c")
    assert hung_up.wait(5)
    assert caught.tb
