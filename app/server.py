"""The production server: Granian, and between it and the app what a slow client needs.

Granian reads heads and writes answers without a thread of ours, but hands over a request before
its body has come. Here the body is waited for first, so long and so much of it as is allowed;
only then does the request get one of the threads that run the app (WSGI, PEP 3333), and its
answer is taken whole. So whoever sends or reads slowly costs a connection, and never a thread.

A worker is a process that builds the app anew (`spawn`); nothing is shared but the port.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from queue import SimpleQueue
from typing import IO, Any, Final

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # it is imported there

from app.draining import DRAIN_SECONDS, let_in_nobody

BODY_SECONDS: Final = 10
"""For a whole body. The greatest that is allowed comes in that time at 7 KB a second."""

HEAD_SECONDS: Final = 15
"""For a head, also the next one of a connection that stays open."""

STOP_SECONDS: Final = 30
"""For the requests in hand, after SIGTERM."""

CONNECTIONS: Final = 4096
"""For each worker, where the system lets it open so many files; more wait to be accepted."""

FEWEST_CONNECTIONS: Final = 16
OWN_FILES: Final = 40
"""What a worker has open besides connections and what its threads need."""

FILES_OF_A_THREAD: Final = 3
"""SQLite's file and its log, and a template, a static file or a lane."""

_log = logging.getLogger("foxtrot.server")

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Answer = tuple[int, list[tuple[str, str]], bytes | str]


def serve(
    load: Callable[[], Application], host: str, port: int, workers: int, threads: int, most: int
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in hand.

    :param load: builds the app; called in each worker, which finds it by its name.
    :param threads: how many requests each worker answers at once.
    :param most: how many bytes of a body are read.
    """
    files = _allow_open_files()
    multiprocessing.set_start_method("spawn", force=True)
    Granian(
        "app",
        address=host,
        port=port,
        workers=workers,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backpressure=connections(files, threads),
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        log_level=LogLevels.warning,
    ).serve(target_loader=partial(_loaded, load, threads, most), wrap_loader=False)


def _loaded(load: Callable[[], Application], threads: int, most: int) -> Any:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return Buffered(load(), threads, most)


def _end_with_parent() -> None:
    """Stop a worker whose parent was killed: it would keep the port, and nobody could stop it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def connections(files: int, threads: int) -> int:
    """How many connections leave enough of the files that a worker may open for its requests."""
    room = files - OWN_FILES - threads * FILES_OF_A_THREAD
    return max(FEWEST_CONNECTIONS, min(CONNECTIONS, room))


def _allow_open_files() -> int:
    """Each connection is an open file, and the usual limit is 1,024 (getrlimit(2)); gives ours."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if most == resource.RLIM_INFINITY else min(most, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted


class OpenFile:
    """A file that the app answers with (PEP 3333, `wsgi.file_wrapper`)."""

    def __init__(self, file: IO[bytes], block_size: int = 65_536) -> None:
        self.name = str(file.name)
        self._blocks = iter(partial(file.read, block_size), b"")
        self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks


class Buffered:
    """A WSGI app as Granian calls it (RSGI 1.x), which waits for bodies without a thread."""

    def __init__(self, application: Application, threads: int, most: int) -> None:
        self._application = application
        self._most = most
        self._requests: SimpleQueue[tuple[Environ, asyncio.Future[Answer]]] = SimpleQueue()
        for _ in range(threads):
            threading.Thread(target=self._answer, daemon=True).start()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """On SIGTERM drain the door, and only then let Granian close it, which SIGINT does too."""

        def drain() -> None:
            let_in_nobody()
            loop.call_later(DRAIN_SECONDS, os.kill, os.getpid(), signal.SIGINT)

        loop.add_signal_handler(signal.SIGTERM, drain)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        environ, body = environ_of(scope), b""
        if "HTTP_TRANSFER_ENCODING" in environ or environ.get("CONTENT_LENGTH", "0") != "0":
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await self._body(environ, protocol)
            except TimeoutError:
                protocol.response_empty(408, [("connection", "close")])
                return
            except ProtocolClosed:
                protocol.response_empty(400, [("connection", "close")])
                return
        environ["wsgi.input"] = BytesIO(body)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._requests.put((environ, future))
        status, headers, content = await future
        if isinstance(content, str):
            protocol.response_file(status, headers, content)
        elif content:
            protocol.response_bytes(status, headers, content)
        else:
            protocol.response_empty(status, headers)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the process, now that the last answer is out.

        Python would take itself apart under threads of Granian that still call it, which abort.
        """
        logging.shutdown()
        os._exit(0)

    async def _body(self, environ: Environ, protocol: Any) -> bytes:
        """The body, or its beginning where it is longer than the app takes.

        :raises ProtocolClosed: the client went before all of it had come (RFC 9112 section 8).
        """
        length = environ.get("CONTENT_LENGTH", "")
        if "HTTP_TRANSFER_ENCODING" in environ or not length.isdecimal():
            return await self._chunks(protocol)
        return bytes(await protocol()) if int(length) <= self._most else b""

    async def _chunks(self, protocol: Any) -> bytes:
        """A body of unknown length. After its end comes one empty part, after a cut another one."""
        parts: list[bytes] = []
        size = 0
        async for part in protocol:
            if parts and not parts[-1]:
                raise ProtocolClosed
            parts.append(bytes(part))
            size += len(part)
            if size > self._most:
                break
        return b"".join(parts)

    def _answer(self) -> None:
        """Be one of the threads that run the app."""
        while True:
            environ, future = self._requests.get()
            try:
                answer = self._call(environ)
            except Exception:
                _log.exception("A request failed outside of the app.")
                answer = (500, [], b"")
            with suppress(RuntimeError):  # the loop has ended: nobody is there to hear it
                future.get_loop().call_soon_threadsafe(_give, future, answer)

    def _call(self, environ: Environ) -> Answer:
        """Run the app. A file that it answers with is not read, but named."""
        begun: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            begun[:] = [int(status[:3]), headers]

        parts = self._application(environ, start_response)
        try:
            if isinstance(parts, OpenFile) and begun[0] == 200:
                return begun[0], begun[1], parts.name
            content = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        return begun[0], begun[1], content


def _give(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():  # it is, if the client has gone
        future.set_result(answer)


def environ_of(scope: Any) -> Environ:
    """What WSGI calls the environment, of a request as RSGI has it."""
    address, _, _ = scope.client.rpartition(":")
    host, _, port = scope.server.rpartition(":")
    environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "REMOTE_ADDR": address.strip("[]"),
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": OpenFile,
    }
    for name, value in scope.headers.items():
        _add_header(environ, name, value)
    return environ


def _add_header(environ: Environ, name: str, value: str) -> None:
    """One header; those with an underscore would look like others (CGI, RFC 3875 4.1.18)."""
    if "_" in name:
        return
    key = name.upper().replace("-", "_")
    key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
    known = environ.get(key)
    glue = "; " if key == "HTTP_COOKIE" else ","
    environ[key] = value if known is None else f"{known}{glue}{value}"
