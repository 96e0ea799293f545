"""Who sent a request, as far as it says: a network address, and software by its own name.

The name is put into plain words ("Firefox on Linux"), chosen from a fixed list:
nothing of what a client says of itself reaches a page or a log line otherwise. The
address is that of the connection, or what as many proxies as the operator runs say
it is; what came before those, anybody can have written.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final

from app.ids import new_id

MAX_TEXT: Final = 300
UNKNOWN: Final = "Unknown device"
COMMAND_LINE: Final = "Command line of the operator"
SERVICE: Final = "The service itself"

_PROGRAMS: Final = (  # the first found counts: Edge calls itself Chrome, too, and Chrome Safari
    (r"\bEdg(e|A|iOS)?/", "Edge"),
    (r"\bOPR/|\bOpera\b", "Opera"),
    (r"\bSamsungBrowser/", "Samsung Internet"),
    (r"\bVivaldi/", "Vivaldi"),
    (r"\b(Firefox|FxiOS)/", "Firefox"),
    (r"\b(Chrome|CriOS|Chromium|HeadlessChrome)/", "Chrome"),
    (r"\bVersion/\S+ .*\bSafari/", "Safari"),
    (r"^curl/", "curl"),
    (r"^Wget/", "Wget"),
    (r"^(python-|Python/|Python-|aiohttp|httpx)", "A Python program"),
    (r"^(node|undici|axios)\b", "A Node.js program"),
    (r"^Go-http-client/", "A Go program"),
    (r"^okhttp/|^Dalvik/", "An Android app"),
    (r"\bCFNetwork/", "An Apple app"),
    (r"^Java/|^Apache-HttpClient/", "A Java program"),
)
_SYSTEMS: Final = (
    (r"\biPhone\b", "iPhone"),
    (r"\biPad\b", "iPad"),
    (r"\bAndroid\b", "Android"),
    (r"\bWindows\b", "Windows"),
    (r"\bCrOS\b", "ChromeOS"),
    (r"\bMac OS X\b|\bMacintosh\b|\bDarwin\b", "macOS"),
    (r"\bLinux\b|\bX11\b", "Linux"),
)


@dataclass(frozen=True)
class Client:
    """Who asks for something; `request_id` ties together what one request caused.

    `is_operator` is for whoever types a command on the machine, `is_service` for what the service
    does by itself; no request can claim them. `device_mark` is what its browser was given at an
    earlier sign-in, unchecked. `actor` is the public id of an administrator who does something to
    others.
    """

    address: str
    user_agent: str
    request_id: str = field(default_factory=lambda: new_id("r"))
    is_operator: bool = False
    is_service: bool = False
    device_mark: str = field(default="", repr=False)
    actor: str | None = None

    def __post_init__(self) -> None:
        for name in ("address", "user_agent"):
            object.__setattr__(self, name, _printable(getattr(self, name)))

    @property
    def device(self) -> str:
        """The software and the system in plain words."""
        if self.is_service:
            return SERVICE
        return COMMAND_LINE if self.is_operator else name_device(self.user_agent)

    @cached_property
    def network(self) -> str:
        """What stays of the address when a machine changes its own part of it."""
        return network(self.address)

    def is_elsewhere(self, address: str, user_agent: str) -> bool:
        """Say whether another network or another device was there before."""
        return self.network != network(address) or self.device != name_device(user_agent)


def network(address: str) -> str:
    """What stays when a machine changes its own part of an address: of IPv6 the first half.

    Whoever has one IPv4 address has 65,536 such halves by 6to4 (RFC 3056), which count as that one.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    within = parsed.ipv4_mapped or parsed.sixtofour
    return str(within) if within else str(ipaddress.ip_network((parsed, 64), strict=False))


def address_behind(proxies: int, connected: str, forwarded: str) -> str:
    """The address of whoever the outermost of our own proxies was connected to.

    Each proxy adds, at the right, the address that it saw. So the entry that many from the right
    is the last one that none but our proxies can have written.

    :param proxies: how many of them a request passes.
    :param connected: the address of the connection itself.
    :param forwarded: the values of `X-Forwarded-For`, in order, joined by commas.
    """
    entries = [entry.strip() for entry in forwarded.split(",")] if forwarded else []
    if not 0 < proxies <= len(entries):
        return connected
    bare = re.sub(r"\A\[([^\]]*)\](:[0-9]+)?\Z|\A([^:]*):[0-9]+\Z", r"\1\3", entries[-proxies])
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return connected


def operator() -> Client:
    """Whoever types a command on the machine itself."""
    return Client("", "", is_operator=True)


def service() -> Client:
    """The service itself, which nobody asked."""
    return Client("", "", is_service=True)


@lru_cache(maxsize=1000)
def name_device(user_agent: str) -> str:
    """Name software and system (`User-Agent`, RFC 9110 section 10.1.5) in plain words."""
    program = _first_named(_PROGRAMS, user_agent)
    system = _first_named(_SYSTEMS, user_agent)
    if program and system:
        return f"{program} on {system}"
    return program or system or UNKNOWN


def _first_named(names: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((name for pattern, name in names if re.search(pattern, text)), None)


def _printable(text: str) -> str:
    """What a client says of itself, without what databases and terminals choke on."""
    text = text[:MAX_TEXT]
    return text if text.isprintable() else "".join(filter(str.isprintable, text))
