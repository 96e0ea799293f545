"""A thread of its own for whoever asks the issuer now and then.

It is a daemon that begins when it is first needed, begins anew in a forked process,
and ends by itself once nobody uses its owner any more.
"""

from __future__ import annotations

import os
import threading
import weakref


class Background:
    """Does `_work` in a thread, again and again, and at once when it is `_wanted`.

    A subclass calls `super().__init__` last: everything it has may then be used by the thread.
    """

    _thread_name = "foxtrot"

    def __init__(self) -> None:
        self._start_afresh()
        _all.add(self)

    def _start_afresh(self) -> None:
        """Forget the thread and the locks; in a forked child neither is of use."""
        self._news = threading.Condition()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            with self._news:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(
                        target=_keep_working,
                        args=(weakref.ref(self),),
                        name=self._thread_name,
                        daemon=True,
                    )
                    self._before_start()
                    self._thread.start()

    def _before_start(self) -> None:
        """What has to be true before the thread begins; the lock is held."""

    def _work(self) -> float:
        """Do what there is to do, and give the seconds until the next time."""
        raise NotImplementedError


def _keep_working(reference: weakref.ref[Background]) -> None:
    while (owner := reference()) is not None:
        pause, wanted = owner._work(), owner._wanted
        del owner
        wanted.wait(pause)


_all: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork() -> None:
    for owner in _all:
        owner._start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
