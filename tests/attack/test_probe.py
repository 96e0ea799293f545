"""One request to a service that may be hostile: bounded, and never further than told."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat
from threading import Event, Thread

import pytest

from app.probe import Answer, Lure, Target, is_loopback, send


@pytest.fixture
def serve() -> Iterator[Callable[[Iterator[bytes]], str]]:
    """Answer one request with whatever bytes, and give the URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(parts: Iterator[bytes]) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            for part in parts:
                connection.sendall(part)

    def start(parts: Iterator[bytes]) -> str:
        Thread(target=answer, args=(parts,), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield start
    listener.close()


def asked(url: str) -> Answer:
    return send(Target("GET", url, time_limit=0.5), "x.y.z")


@pytest.mark.parametrize(
    "parts",
    [
        repeat(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000 + b"\r\n"),
        iter([b"\x00\xff" * 100]),
        iter([b"SSH-2.0-OpenSSH_9.2\r\n"]),
        iter([b""]),
        iter([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]),
    ],
    ids=["endless headers", "noise", "another protocol", "nothing", "bad chunks"],
)
def test_what_is_no_answer_is_told_as_none(
    serve: Callable[[Iterator[bytes]], str], parts: Iterator[bytes]
) -> None:
    """With a word about why."""
    answer = asked(serve(parts))
    assert answer.status is None
    assert answer.problem


def test_an_answer_that_drips_is_cut_off(serve: Callable[[Iterator[bytes]], str]) -> None:
    """Each byte comes in time; all together they would take for ever."""

    def drip() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nX: "
        while True:
            yield b"x"
            Event().wait(0.05)

    assert asked(serve(drip())).status is None


def test_only_the_beginning_of_a_long_answer_is_read(
    serve: Callable[[Iterator[bytes]], str],
) -> None:
    """It need not be kept to be judged."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    answer = asked(serve(iter([head, b"y" * 200_000])))
    assert (answer.status, len(answer.text)) == (200, 64 * 1024)


def test_a_redirect_is_an_answer(serve: Callable[[Iterator[bytes]], str]) -> None:
    """Where it leads is nobody's business here."""
    found = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"
    assert asked(serve(iter([found]))).status == 302


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine_is_known_by_its_names(host: str) -> None:
    """All of the loopback network."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.example.com", "10.0.0.1", "0.0.0.0", "127.0.0.1.nip.io", ""]
)
def test_others_are_not_this_machine(host: str) -> None:
    """Whatever they look like."""
    assert not is_loopback(host)


def test_the_lure_tells_who_came() -> None:
    """Once."""
    with Lure({"/jwks.json": b"{}"}) as lure:
        assert not lure.fetched()
        assert send(Target("GET", f"{lure.url}/jwks.json"), None).text == "{}"
        assert send(Target("GET", f"{lure.url}/other"), None).status == 404
        assert lure.fetched()
        assert not lure.fetched()
