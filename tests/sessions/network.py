"""Real servers that may be killed, and programs that keep the rules of docs/sessions.md."""

from __future__ import annotations

import http.client
import json
import os
import random
import secrets
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes import ROOT, clean_environ, flask, free_port, stop, wait_until_up
from tests.sessions.crowd import PATIENCE
from tests.support import PASSWORD, bearer

NO_ANSWER = 0
LOST = 0.1


@dataclass(frozen=True)
class Answer:
    """What a server answered; the status is `NO_ANSWER` where it did not."""

    status: int
    body: Any = None
    headers: Mapping[str, str] | None = None


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Shows a redirect as it is."""

    def redirect_request(self, *_: Any) -> None:
        return None


OPENER = urllib.request.build_opener(NoRedirects, urllib.request.ProxyHandler({}))


def call(url: str, body: Any = None, method: str | None = None, **headers: str) -> Answer:
    """Send one request, with JSON if there is a body."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:
        named.setdefault("Content-Type", "application/json")
    request = urllib.request.Request(url, data, named, method=method)
    try:
        with OPENER.open(request, timeout=20) as answer:
            return Answer(answer.status, _content(answer.read()), dict(answer.headers))
    except urllib.error.HTTPError as refused:
        with refused:
            return Answer(refused.code, _content(refused.read()), dict(refused.headers))
    except (OSError, http.client.HTTPException):
        return Answer(NO_ANSWER)


def _content(raw: bytes) -> Any:
    with suppress(ValueError):
        return json.loads(raw)
    return raw.decode()


class Server:
    """`flask run` in a process group of its own, on one port and one data folder."""

    def __init__(self, settings: Mapping[str, str], output: Path, root: Path = ROOT) -> None:
        self.root = root
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.settings, self.output = settings, output

    def start(self, *arguments: str) -> None:
        """Start it, and wait until it serves; it writes into a file, which is never full."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                flask(*arguments, "run", "--port", str(self.port)),
                cwd=self.root,
                env=clean_environ(self.settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        wait_until_up(f"{self.url}/healthz", self.process)

    def kill(self) -> None:
        """`kill -9`, the whole group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        stop(self.process)


class Program:
    """A client with one store for its threads, which keeps the rules.

    :param logs_out: whether it signs out now and then, and in again; with one thread only.
    """

    def __init__(self, url: str, email: str, *, logs_out: bool = False) -> None:
        self.url, self.logs_out = url, logs_out
        self.credentials = {"email": email, "password": PASSWORD, "audience": url}
        self.lock = threading.Lock()
        self.store: dict[str, str] = {}
        self.ended: list[dict[str, str]] = []
        self.seen: Counter[int] = Counter()
        self.refreshes = 0

    def live(self, over: threading.Event) -> None:
        """In a thread: sign in, and refresh again and again, until it is over."""
        choose = random.Random(threading.get_ident())
        with self.lock:
            if not self.store:
                self.sign_in()
        while not over.is_set():
            self.refresh()
            if choose.random() < 0.3:
                answer = self.ask("/api/me")
                assert answer.status == 200, answer
            if self.logs_out and choose.random() < 0.2:
                self.log_out()
                self.sign_in()

    def sign_in(self) -> None:
        """Begin a session; where no answer comes, begin another."""
        answer = self.insist("/auth/login", self.credentials)
        assert answer.status == 200, answer
        self.store = answer.body

    def refresh(self) -> None:
        """Trade the token; the key is as new as the token, and kept until the answer is stored."""
        with self.lock:
            self.store.setdefault("key", secrets.token_urlsafe(24))
            sent = dict(self.store)
        body = {"refresh_token": sent["refresh_token"]}
        answer = self.insist(
            "/auth/refresh",
            body,
            {"Idempotency-Key": sent["key"]},
            while_true=lambda: self.store["refresh_token"] == sent["refresh_token"],
        )
        assert answer.status in (200, NO_ANSWER), answer
        with self.lock:
            if answer.status == 200 and self.store["refresh_token"] == sent["refresh_token"]:
                self.store = answer.body
                self.refreshes += 1

    def log_out(self) -> None:
        """End the session; it has ended once that was acknowledged."""
        body = {"refresh_token": self.store["refresh_token"]}
        assert self.insist("/auth/logout", body).status == 204
        self.ended.append(self.store)

    def ask(self, path: str) -> Answer:
        """GET something with the access token."""
        return self.insist(path, headers=bearer(self.store["access_token"]))

    def insist(
        self,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        while_true: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """Send the same request until there is an answer that says neither 429 nor 503.

        Now and then an answer is lost on the way, besides those that the test destroys.

        :param while_true: says before each further try whether it makes sense still.
        """
        deadline = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < deadline:
            answer = call(f"{self.url}{path}", body, **(headers or {}))
            if random.random() < LOST:
                answer = Answer(NO_ANSWER)
            self.seen[answer.status] += 1
            if answer.status not in (NO_ANSWER, 429, 503):
                return answer
            time.sleep(0.05)
            if not while_true():
                return Answer(NO_ANSWER)
        raise AssertionError(f"no answer for {path}: {self.seen}")


def status_of_refresh(url: str, token: str, **headers: str) -> int:
    """What the server answers to a refresh token."""
    return call(f"{url}/auth/refresh", {"refresh_token": token}, **headers).status


def status_of_access(url: str, token: str) -> int:
    """What the server answers to an access token."""
    return call(f"{url}/api/me", **bearer(token)).status
