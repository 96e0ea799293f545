"""Whether the time of a refused login tells why it was refused.

    .venv/bin/pip install -r requirements-test.txt && .venv/bin/python bench/timing.py

Three classes of tries, by real requests to `flask serve` on one connection: an address that
nobody has, a wrong password, and the right password of a disabled user. They are interleaved in
a shuffled order, with a cheap hash, so that it does not hide the rest. For each two classes the
rank-sum statistic is printed as the chance that a try of the one takes longer than one of the
other (AUC, Mann and Whitney 1947): 0.5 is what a coin gives.

Ends with status 1 if any is further from 0.5 than promised.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from itertools import combinations
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from the checkout

from bench.login import OURS, call, running
from tests.processes import run
from tests.support import CHEAP_HASH, NO_LOGIN_LIMITS, cheap_settings

MOST: Final = 0.05
"""The promise: how far from a coin."""

TRIES: Final = {
    "unknown address": ("nobody@example.com", "a wrong password, long enough"),
    "wrong password": ("user0@example.com", "a wrong password, long enough"),
    "disabled user": ("user1@example.com", None),
}
"""What is sent in each class; None is the right password."""


def auc(some: Sequence[float], others: Sequence[float]) -> float:
    """The chance that one of *some* is greater than one of the *others*; ties count half."""
    ranked = sorted([(each, 0) for each in some] + [(each, 1) for each in others])
    sums, at = 0.0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        sums += sum(1 for _, group in ranked[at:end] if group == 0) * (at + end + 1) / 2
        at = end
    return (sums - len(some) * (len(some) + 1) / 2) / (len(some) * len(others))


def times(attempts: dict[str, Callable[[], int]], number: int) -> dict[str, list[float]]:
    """The seconds of each try, so many of each class, all in one shuffled order."""
    taken: dict[str, list[float]] = {name: [] for name in attempts}
    for name in random.sample([*attempts] * number, number * len(attempts)):
        began = time.perf_counter()
        status = attempts[name]()
        taken[name].append(time.perf_counter() - began)
        if status != 401:
            raise RuntimeError(f"{name}: {status}")
    return taken


def furthest(taken: dict[str, list[float]]) -> float:
    """Print how each two classes compare; give the greatest distance from a coin."""
    most = 0.0
    for one, other in combinations(taken, 2):
        value = auc(taken[one], taken[other])
        print(f"  {one} against {other}: AUC {value:.3f}")
        most = max(most, abs(value - 0.5))
    return most


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if the promise is broken."""
    parser = argparse.ArgumentParser(description="Whether time tells why a login was refused.")
    parser.add_argument("--tries", type=int, default=1000, help="of each class (default 1000)")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="foxtrot-bench-") as name:
        folder = Path(name)
        with running(OURS, CHEAP_HASH, folder) as port:
            settings = {**cheap_settings(folder), **NO_LOGIN_LIMITS}
            done = run("users", "disable", "user1@example.com", settings=settings)
            if done.returncode:
                raise RuntimeError(done.stderr)
            connection = HTTPConnection("localhost", port)
            attempts = {each: attempt(connection, *TRIES[each]) for each in TRIES}
            times(attempts, 30)
            most = furthest(times(attempts, chosen.tries))
    print(f"  {'kept' if most <= MOST else 'BROKEN'}: {most:.3f} from a coin (at most {MOST})")
    return 0 if most <= MOST else 1


def attempt(connection: HTTPConnection, email: str, password: str | None) -> Callable[[], int]:
    """One try to log in."""
    return lambda: call(connection, "/auth/login", email, *([password] if password else []))


if __name__ == "__main__":
    sys.exit(main())
