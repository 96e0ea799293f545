"""What is counted, and how it is told to Prometheus (text format 0.0.4).

The numbers of all processes of this machine are added up (`tallies`), so that it does
not matter which worker is asked. Labels have few values: routes by their template, never
a path, an address or a user. Without FOXTROT_METRICS_TOKEN nothing is counted.
"""

from __future__ import annotations

import hmac
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from app.tallies import Numbers, Tallies

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends, in seconds."""


@dataclass(frozen=True)
class Metric:
    """One thing that is counted, and the names of its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


LOGINS: Final = Metric(
    "foxtrot_logins_total", "counter", ("outcome",), "Sign-ins by their outcome."
)
REFRESHES: Final = Metric(
    "foxtrot_refreshes_total", "counter", ("outcome",), "Refreshes by their outcome."
)
EVENTS: Final = Metric(
    "foxtrot_events_total",
    "counter",
    ("event",),
    "Audit events by their name; refresh.reused is the use of a copied refresh token.",
)
TOKEN_REFUSALS: Final = Metric(
    "foxtrot_token_refusals_total",
    "counter",
    ("reason",),
    "Access tokens that were refused here, by the reason.",
)
REFUSALS: Final = Metric(
    "foxtrot_refusals_total", "counter", ("code",), "Problem documents, by their code."
)
REQUESTS: Final = Metric(
    "foxtrot_request_duration_seconds",
    "histogram",
    ("method", "route", "status"),
    "How long requests took, by the template of their route.",
)
HASHES_RUNNING: Final = Metric(
    "foxtrot_hashes_running", "gauge", (), "Passwords that are being hashed now."
)
HASHES_WAITING: Final = Metric(
    "foxtrot_hashes_waiting", "gauge", (), "Passwords that wait to be hashed."
)
WORKERS: Final = Metric(
    "foxtrot_workers", "gauge", (), "Processes of this machine that count, this one included."
)
BUILD: Final = Metric(
    "foxtrot_build_info", "gauge", ("version", "python", "database"), "What runs; always 1."
)

OUTCOMES: Final = ("succeeded", "refused", "invalid", "throttled", "unavailable", "failed")

ALL: Final = (
    LOGINS,
    REFRESHES,
    EVENTS,
    TOKEN_REFUSALS,
    REFUSALS,
    REQUESTS,
    HASHES_RUNNING,
    HASHES_WAITING,
    WORKERS,
    BUILD,
)


class Meter:
    """Counts, and tells what was counted to whoever has the token.

    :param token: of whoever may read; None where nothing is counted.
    :param folder: where the processes of this machine keep their numbers.
    :param build: the labels of `BUILD`.
    :param known: the labels that a counter of one label may have; they are told from zero on,
        because nobody sees a counter rise that was not there before.
    """

    def __init__(
        self,
        token: str | None,
        folder: Path,
        build: Mapping[str, str],
        known: Mapping[Metric, Iterable[str]],
    ) -> None:
        self._token = token
        self._tallies = None if token is None else Tallies(folder)
        self._build = tuple(build[label] for label in BUILD.labels)
        self._known = [(metric.name, label) for metric, labels in known.items() for label in labels]

    @property
    def is_on(self) -> bool:
        """Whether anything is counted."""
        return self._tallies is not None

    def may_be_read_with(self, token: str) -> bool:
        """Compare with the token of the setting, in a time that tells nothing."""
        wanted = (self._token or "").encode()
        return self.is_on and hmac.compare_digest(token.encode("utf-8", "surrogatepass"), wanted)

    def count(self, metric: Metric, *labels: str) -> None:
        """Count one more."""
        if self._tallies is not None:
            self._tallies.add((metric.name, *labels), (1.0,))

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Count something that took a time: its bucket, and the sum of all times."""
        if self._tallies is not None:
            amounts = [0.0] * (len(BUCKETS) + 2)
            amounts[bisect_left(BUCKETS, seconds)] = 1.0
            amounts[-1] = seconds
            self._tallies.add((metric.name, *labels), amounts)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Say how much there is now in this process; those of all are added up."""
        if self._tallies is not None:
            self._tallies.put((metric.name, *labels), float(value))

    def exposition(self) -> str:
        """All that was counted, in the text format of Prometheus."""
        if self._tallies is None:
            return ""
        numbers, processes = self._tallies.everybodys()
        for key in self._known:
            numbers.setdefault(key, [0.0])
        numbers[(WORKERS.name,)] = [float(processes)]
        numbers[(BUILD.name, *self._build)] = [1.0]
        return "".join(f"{line}\n" for metric in ALL for line in _lines(metric, numbers))


def _lines(metric: Metric, numbers: Numbers) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for key in sorted(numbers):
        if key[0] == metric.name and len(key) == 1 + len(metric.labels):
            labels = dict(zip(metric.labels, key[1:], strict=True))
            if metric.kind == "histogram":
                yield from _histogram(metric.name, labels, numbers[key])
            else:
                yield f"{metric.name}{_braces(labels)} {_number(numbers[key][0])}"


def _histogram(name: str, labels: dict[str, str], numbers: list[float]) -> Iterator[str]:
    *counts, total = numbers
    below = 0.0
    for end, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=False):
        below += count
        yield f"{name}_bucket{_braces({**labels, 'le': end})} {_number(below)}"
    yield f"{name}_sum{_braces(labels)} {total!r}"
    yield f"{name}_count{_braces(labels)} {_number(below)}"


def _braces(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
