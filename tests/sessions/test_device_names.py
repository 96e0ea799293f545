"""Devices in plain words, from what real programs call themselves; and networks."""

from __future__ import annotations

import pytest

from app.client import COMMAND_LINE, UNKNOWN, Client, name_device, operator

MOZILLA = "Mozilla/5.0"
KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)"
WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
WINDOWS = f"{MOZILLA} (Windows NT 10.0; Win64; x64)"
MAC = f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7)"
LINUX = f"{MOZILLA} (X11; Linux x86_64)"
CHROME_OS = f"{MOZILLA} (X11; CrOS x86_64 14541.0.0)"
ANDROID = f"{MOZILLA} (Linux; Android 10; K)"
IPHONE = f"{MOZILLA} (iPhone; CPU iPhone OS 18_5 like Mac OS X)"
IPAD = f"{MOZILLA} (iPad; CPU OS 17_7 like Mac OS X)"

REAL = [
    (f"{WINDOWS} {KHTML} Chrome/138.0.0.0 Safari/537.36", "Chrome on Windows"),
    (f"{WINDOWS} {KHTML} Chrome/138.0.0.0 Safari/537.36 Edg/138.0.3351.55", "Edge on Windows"),
    (f"{WINDOWS} {KHTML} Chrome/136.0.0.0 Safari/537.36 OPR/121.0.0.0", "Opera on Windows"),
    (f"{WINDOWS} {KHTML} Chrome/136.0.0.0 Safari/537.36 Vivaldi/7.4", "Vivaldi on Windows"),
    (
        f"{MOZILLA} (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Firefox on Windows",
    ),
    (f"{MAC} {WEBKIT} Version/18.5 Safari/605.1.15", "Safari on macOS"),
    (f"{MAC} {KHTML} Chrome/138.0.0.0 Safari/537.36", "Chrome on macOS"),
    (
        f"{MOZILLA} (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Firefox on macOS",
    ),
    (f"{MOZILLA} (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
    (f"{LINUX} {KHTML} Chrome/138.0.0.0 Safari/537.36", "Chrome on Linux"),
    (f"{LINUX} {KHTML} HeadlessChrome/138.0.0.0 Safari/537.36", "Chrome on Linux"),
    (
        f"{MOZILLA} (X11; CrOS x86_64 14541.0.0) {KHTML} Chrome/138.0.0.0 Safari/537.36",
        "Chrome on ChromeOS",
    ),
    (f"{ANDROID} {KHTML} Chrome/138.0.0.0 Mobile Safari/537.36", "Chrome on Android"),
    (f"{ANDROID} {KHTML} Chrome/138.0.0.0 Mobile Safari/537.36 EdgA/138.0.0.0", "Edge on Android"),
    (
        f"{ANDROID} {KHTML} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
        "Samsung Internet on Android",
    ),
    (
        f"{MOZILLA} (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
        "Firefox on Android",
    ),
    (f"{IPHONE} {WEBKIT} Version/18.5 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
    (f"{IPHONE} {WEBKIT} CriOS/138.0.7204.53 Mobile/15E148 Safari/604.1", "Chrome on iPhone"),
    (f"{IPHONE} {WEBKIT} FxiOS/140.0 Mobile/15E148 Safari/605.1.15", "Firefox on iPhone"),
    (f"{IPHONE} {WEBKIT} Version/18.0 EdgiOS/138.0 Mobile/15E148 Safari/604.1", "Edge on iPhone"),
    (f"{IPAD} {WEBKIT} Version/17.7 Mobile/15E148 Safari/604.1", "Safari on iPad"),
    ("curl/8.14.1", "curl"),
    ("Wget/1.25.0", "Wget"),
    ("python-requests/2.32.4", "A Python program"),
    ("python-httpx/0.28.1", "A Python program"),
    ("Python-urllib/3.13", "A Python program"),
    ("Python/3.13 aiohttp/3.12.13", "A Python program"),
    ("node", "A Node.js program"),
    ("axios/1.10.0", "A Node.js program"),
    ("undici", "A Node.js program"),
    ("Go-http-client/2.0", "A Go program"),
    ("okhttp/4.12.0", "An Android app"),
    ("Dalvik/2.1.0 (Linux; U; Android 15; Pixel 9 Build/AP4A)", "An Android app on Android"),
    ("Notes/12 CFNetwork/3826.500.131 Darwin/24.5.0", "An Apple app on macOS"),
    ("Java/21.0.7", "A Java program"),
    ("Apache-HttpClient/5.5 (Java/21.0.7)", "A Java program"),
    (f"{LINUX} SomethingNew/1.0", "Linux"),
    ("SomethingNew/1.0", UNKNOWN),
    ("", UNKNOWN),
]


@pytest.mark.parametrize(("user_agent", "name"), REAL)
def test_a_device_is_named_in_plain_words(user_agent: str, name: str) -> None:
    """As its owner would call it."""
    assert Client("192.0.2.1", user_agent).device == name
    assert name_device(user_agent) == name


HOSTILE = [
    "Firefox/1.0 <script>",
    "x" * 100_000,
    "\x1b[31mcurl/8\x1b[0m",
    "Version/1 " * 50_000 + "Safari",
    "Command line of the operator",
    "command line of the operator curl/8",
    "é\u202eFirefox/1.0",
    '{"event": "login.succeeded"}\n',
]
WORDS = {name for _, name in REAL} | {"Firefox", "Chrome"}


@pytest.mark.parametrize("user_agent", HOSTILE, ids=lambda text: text[:20].encode().hex())
def test_a_hostile_name_leads_to_one_of_our_words(user_agent: str) -> None:
    """Nothing else reaches a page or a log, and it takes no time."""
    assert Client("192.0.2.1", user_agent).device in WORDS


def test_the_operator_is_named_as_such() -> None:
    """Who types a command has no address."""
    assert (operator().device, operator().address) == (COMMAND_LINE, "")


SAME = [
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.1", "::ffff:192.0.2.1"),
    ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
    ("", ""),
    ("unix", "unix"),
]
OTHER = [
    ("192.0.2.1", "192.0.2.2"),
    ("2001:db8:1:2::1", "2001:db8:1:3::1"),
    ("192.0.2.1", "2001:db8::1"),
    ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
    ("192.0.2.1", ""),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_a_machine_that_changes_its_own_part_is_where_it_was(one: str, other: str) -> None:
    """Of IPv6 the first half counts: the rest is renewed every day."""
    assert not Client(one, "curl/8").is_elsewhere(other, "curl/7")


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_network_is_elsewhere(one: str, other: str) -> None:
    """Of IPv4 each address is one."""
    assert Client(one, "curl/8").is_elsewhere(other, "curl/8")
