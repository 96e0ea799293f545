"""`flask` commands without the second that each spends on imports, for tests that give many.

One process has imported the service and divides itself for every command. The command is a
process of its own all the same, with its own environment, input and output, and ends with its
own exit code: nothing of the service reads the environment before an app is built. Tests of how
a process starts or is killed start a real one.

Run with the path of a socket it is the process that divides itself; it ends with its input.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask.cli

import app
from tests.processes import ROOT, START_SECONDS, clean_environ

READY = b"ready\n"

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({path!r})
    order = json.dumps([sys.argv[1:], dict(os.environ)]).encode()
    socket.send_fds(asked, [len(order).to_bytes(4, "big")], [0, 1, 2])
    asked.sendall(order)
    sys.exit(int(asked.makefile().read() or 255))
"""


@contextmanager
def forking(folder: Path) -> Iterator[Path]:
    """A program that does what `flask` does in the checkout, until the block ends."""
    path, program = folder / "socket", folder / "flask"
    command = [sys.executable, "-m", "tests.forks", str(path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    program.write_text(CLIENT.format(python=sys.executable, path=str(path)))
    program.chmod(0o755)
    with subprocess.Popen(command, cwd=ROOT, env=clean_environ({}), **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == READY
        yield program
        process.communicate(timeout=START_SECONDS)


def divide(path: str) -> None:
    """Answer every order by a process of its own, until the input ends: the tests are over."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who ended is forgotten
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        os.write(1, READY)
        watched: list[Any] = [0, listening]
        while listening in select.select(watched, [], [])[0]:
            asked, _ = listening.accept()
            with asked:
                if os.fork() == 0:
                    listening.close()
                    obey(asked)


def obey(asked: socket.socket) -> None:
    """Become the command, and say its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, files, _, _ = socket.recv_fds(asked, 4, 3)
    with asked.makefile("rb") as rest:
        arguments, environ = json.loads(rest.read(int.from_bytes(head, "big")))
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    code = command(arguments, environ)
    asked.sendall(str(code).encode())
    os._exit(code)


def command(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Do what `flask` does, in this process."""
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["flask", *arguments]
    try:
        flask.cli.cli.main(arguments, prog_name="flask")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    assert app.create_app is not None  # imported, once for all
    divide(sys.argv[1])
