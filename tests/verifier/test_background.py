"""The thread that asks the issuer: one for each who needs it, begun anew where it ended."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from foxtrot import IssuerKeys
from foxtrot.background import Background
from tests.verifier.minting import Clock, SigningKey, make_es256
from tests.verifier.site import JWKS, Site, wait_until


class Worker(Background):
    """Notes that it worked."""

    def __init__(self) -> None:
        self.works = threading.Event()
        super().__init__()

    def _work(self) -> float:
        self._wanted.clear()
        self.works.set()
        return 60


def test_a_process_need_not_wait_for_the_thread_to_end() -> None:
    """It holds up nobody who wants to stop."""
    worker = Worker()
    worker._ensure_thread()
    assert worker._thread
    assert worker._thread.daemon
    assert worker.works.wait(5)


class Alarm(threading.Event):
    """Notes for how long somebody sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return super().wait(timeout)


def test_the_thread_sleeps_for_as_long_as_its_work_says() -> None:
    """And works at once when it is woken."""
    worker, alarm = Worker(), Alarm()
    worker._wanted = alarm
    worker._ensure_thread()
    wait_until(lambda: alarm.pauses == [60])
    worker.works.clear()
    alarm.set()
    assert worker.works.wait(5)


def test_who_comes_second_to_the_lock_begins_no_second_thread() -> None:
    """Two requests may find at the same time that there is none."""
    worker = Worker()

    class Overtaken(threading.Condition):
        def __enter__(self) -> bool:
            worker._thread = threading.main_thread()
            return super().__enter__()

    worker._news = Overtaken()
    worker._ensure_thread()
    assert worker._thread is threading.main_thread()
    assert not worker.works.is_set()


class Failing(Clock):
    """A clock that fails in the thread that fetches, once it was told to."""

    def __init__(self) -> None:
        super().__init__(1000)
        self.fails = False

    def __call__(self) -> float:
        if self.fails and threading.current_thread().name == "foxtrot-keys":
            self.fails = False
            raise RuntimeError("The clock stands still.")
        return self.now


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_begun_anew(site: Site, es_key: SigningKey) -> None:
    """And the request that begins it waits for it, although the last fetch was just now."""
    site.publish(es_key)
    clock = Failing()
    source = IssuerKeys(site.url, clock=clock)
    source.find("es-1", "ES256")
    thread, clock.fails = source._thread, True
    source._wanted.set()
    assert thread
    thread.join(5)
    source._wanted.clear()  # as where its time had come by itself
    site.publish(es_key, make_es256("es-2"))
    release = site.hang(JWKS)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(source.find, "es-2", "ES256")
        site.wait_for(JWKS, 3)
        release.set()
    assert waiting.result()
