"""All that can happen to accounts at one server, and every secret that was part of it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from sqlalchemy import select

from app.db import db, transaction
from app.sessions import LoginSession
from tests.processes import run
from tests.sessions.network import Answer, Server, call
from tests.support import bearer, claims_of

FORM = "application/x-www-form-urlencoded"
ANN = "ann@example.com"


class Story:
    """`secrets` holds what was sent and received, and what each of them is."""

    def __init__(self, app: Flask, server: Server) -> None:
        self.app, self.server = app, server
        self.secrets: dict[str, str] = {}
        self.last_refresh_token = ""

    def play(self) -> None:
        """From the first administrator to the last sign-out."""
        chapters: list[Callable[[], None]] = [
            self.administrator,
            self.registrations,
            self.browser,
            self.refreshes,
            self.late_retry,
            self.theft,
            self.mistakes,
            self.passwords,
            self.reset,
            self.ends,
        ]
        for chapter in chapters:
            chapter()

    # What happens

    def administrator(self) -> None:
        """A setup link is made, looked at and used; another was made in vain."""
        self.link("setup-link")
        secret = self.link("setup-link")
        assert call(f"{self.server.url}/setup?token={secret}").status == 200
        self.submit("/setup", 303, token=secret, email="root@example.com", password=self.new())

    def registrations(self) -> None:
        """By JSON and by the form, at first with passwords that are not accepted."""
        self.password = self.new()
        self.post("/auth/register", 422, {"email": ANN, "password": self.keep("tr0ub4dor&3", "?")})
        self.post("/auth/register", 201, {"email": ANN, "password": self.password})
        self.post("/auth/register", 409, {"email": ANN, "password": self.new()})
        self.submit("/register", 422, email="bob", password=self.new())
        self.submit("/register", 303, email="bob@example.com", password=self.new())

    def browser(self) -> None:
        """Signs in by the form and by JSON, is shown pages, gets tokens, ends a session."""
        other = self.cookie(self.submit("/login", 303, email=ANN, password=self.password))
        cookie = self.cookie(self.post("/auth/login", 200, self.login(session="cookie")))
        assert call(f"{self.server.url}/account", Cookie=cookie).status == 200
        token = self.post("/auth/token", 200, {}, Cookie=other).body["access_token"]
        self.submit(f"/account/sessions/{claims_of(token)['sid']}/end", 303, Cookie=cookie)
        self.submit("/account/sessions/end-others", 303, Cookie=cookie)
        self.submit("/logout", 303, Cookie=cookie)

    def refreshes(self) -> None:
        """With and without a key, again at once, from another device, shown in a URL."""
        tokens = self.log_in()
        first = tokens["refresh_token"]
        for key in (self.new_key(), self.new_key()):
            self.refresh(first, 200, Idempotency_Key=key)
        tokens = self.refresh(first, 200, User_Agent="curl/8").body
        self.refresh(tokens["refresh_token"], 200)
        self.post("/auth/refresh", 400, {"refresh_token": first, "scope": "nothing"})
        self.post("/auth/refresh", 422, {"refresh_token": first, "password": self.password})
        call(f"{self.server.url}/api/me?access_token={tokens['access_token']}")

    def late_retry(self) -> None:
        """The answer was lost for longer than twenty seconds."""
        token, key = self.log_in()["refresh_token"], self.new_key()
        self.refresh(token, 200, Idempotency_Key=key)
        self.wait_a_minute()
        self.last_refresh_token = self.refresh(token, 200, Idempotency_Key=key).body[
            "refresh_token"
        ]

    def theft(self) -> None:
        """A copy comes late, with a key of its own; the session ends."""
        token = self.log_in()["refresh_token"]
        child = self.refresh(token, 200).body["refresh_token"]
        self.wait_a_minute()
        self.refresh(token, 401, Idempotency_Key=self.new_key())
        self.refresh(child, 401)

    def mistakes(self) -> None:
        """Passwords are typed as addresses, tokens as other tokens, and bodies are broken."""
        for typed in (
            self.password,
            f" {self.password}",
            self.keep("quiet9heron@dusk.example", ""),
        ):
            self.post("/auth/login", 401, {"email": typed, "password": self.new()})
            self.submit("/login", 401, email=typed, password=typed)
            self.post("/auth/password-advice", 200, {"email": typed, "password": typed})
        self.post("/auth/login", 422, {"email": ANN, "password": self.password, "pin": 1})
        self.post("/auth/login", 400, f'{{"password": "{self.password}"'.encode())
        tokens = self.log_in()
        self.refresh(tokens["access_token"], 401)
        call(f"{self.server.url}/api/me", **bearer(tokens["refresh_token"]))
        call(f"{self.server.url}/api/me", **bearer(self.password.replace(" ", "")))
        call(f"{self.server.url}/reset?token={tokens['refresh_token']}")
        call(f"{self.server.url}/account", Cookie=f"foxtrot_session={tokens['refresh_token']}")

    def passwords(self) -> None:
        """Changed by the API, by the form, and by the operator, each at first in vain."""
        old, self.password = self.password, self.new()
        headers = bearer(self.log_in(password=old, audience=self.server.url)["access_token"])
        change = {"current_password": self.new(), "new_password": self.password}
        self.post("/api/me/password", 403, change, **headers)
        self.post("/api/me/password", 204, {**change, "current_password": old}, **headers)
        cookie = self.cookie(self.submit("/login", 303, email=ANN, password=self.password))
        old, self.password = self.password, self.new()
        for current, status in ((self.new(), 403), (old, 303)):
            fields = {"current_password": current, "new_password": self.password}
            self.submit("/account/password", status, Cookie=cookie, **fields)
        self.password = self.new()
        self.command("users", "set-password", ANN, "--password-stdin", stdin=self.password)

    def reset(self) -> None:
        """By a link; one more was made and never used."""
        secret = self.link("users", "reset-link", ANN)
        assert call(f"{self.server.url}/reset?token={secret}").status == 200
        self.submit("/reset", 422, token=secret, password="short")
        self.password = self.new()
        self.submit("/reset", 303, token=secret, password=self.password)
        self.submit("/reset", 404, token=secret, password=self.new())
        self.link("users", "reset-link", "bob@example.com")

    def ends(self) -> None:
        """A program signs out, by a token that was used and by one that is unknown."""
        token = self.log_in()["refresh_token"]
        self.refresh(token, 200)
        for known in (token, self.keep(secrets.token_urlsafe(32), "an unknown token")):
            self.post("/auth/logout", 204, {"refresh_token": known})
        self.refresh(token, 401)
        self.log_in()

    # How it is told

    def post(self, path: str, status: int, body: Any, **headers: str) -> Answer:
        """Send JSON, and keep what the answer gives."""
        headers = {"Origin": self.server.url, **headers}
        answer = call(f"{self.server.url}{path}", body, **headers)
        return self.kept(path, status, answer)

    def submit(self, path: str, status: int, Cookie: str = "", **fields: str) -> Answer:  # noqa: N803 - a header
        """Send a form."""
        headers = {"Origin": self.server.url, "Content_Type": FORM, "Cookie": Cookie}
        answer = call(f"{self.server.url}{path}", urlencode(fields).encode(), **headers)
        return self.kept(path, status, answer)

    def kept(self, path: str, status: int, answer: Answer) -> Answer:
        """Keep the secrets of an answer."""
        assert answer.status == status, f"{path}: {answer}"
        if isinstance(answer.body, dict) and "access_token" in answer.body:
            self.keep(answer.body["access_token"], "an access token")
            self.keep(answer.body["access_token"].rpartition(".")[2], "a signature")
            if "refresh_token" in answer.body:
                self.keep(answer.body["refresh_token"], "a refresh token")
        self.cookie(answer)
        return answer

    def cookie(self, answer: Answer) -> str:
        """The cookie that an answer sets, as the browser will send it."""
        match = re.match(
            r"(foxtrot_session)=([\w-]+);", (answer.headers or {}).get("Set-Cookie", "")
        )
        if match:
            self.keep(match[2], "a cookie")
        return match[0].rstrip(";") if match else ""

    def login(self, **more: str) -> dict[str, str]:
        return {"email": ANN, "password": self.password, **more}

    def log_in(self, **more: str) -> dict[str, str]:
        tokens: dict[str, str] = self.post("/auth/login", 200, self.login(**more)).body
        return tokens

    def refresh(self, token: str, status: int, **headers: str) -> Answer:
        return self.post("/auth/refresh", status, {"refresh_token": token}, **headers)

    def new(self) -> str:
        """A password that nobody has used."""
        return self.keep(f"quiet herons {secrets.token_hex(6)} at dusk", "a password")

    def new_key(self) -> str:
        return self.keep(secrets.token_urlsafe(24), "an Idempotency-Key")

    def keep(self, secret: str, what: str) -> str:
        self.secrets[secret] = what or "a password like an address"
        return secret

    def link(self, *arguments: str) -> str:
        """The secret of a one-time link that the operator makes."""
        return self.keep(self.command(*arguments).strip()[-43:], "a link")

    def command(self, *arguments: str, stdin: str | None = None) -> str:
        done = run(*arguments, settings=self.server.settings, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_a_minute(self) -> None:
        """Let a minute pass for all tokens that were used."""
        with self.app.app_context(), transaction():
            for session in db.session.scalars(select(LoginSession)):
                uses = json.loads(session.rotations or "[]")
                earlier = [[number, at - 60_000_000, *rest] for number, at, *rest in uses]
                session.rotations = json.dumps(earlier)
