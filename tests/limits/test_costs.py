"""What a stranger's request may cost, besides a hash: no more than one like it."""

from __future__ import annotations

import time

from flask.testing import FlaskClient

from tests.support import ORIGIN


def test_a_member_twice_is_found_at_once_among_thousands(client: FlaskClient) -> None:
    """Where the last of them is there twice, it costs no more than as many unknown ones."""
    names = [f"{number:x}" for number in range(6000)]

    def seconds(*names: str) -> float:
        body = "{" + ",".join(f'"{name}":0' for name in names) + "}"
        headers = {"Content-Type": "application/json"}
        began = time.process_time()
        answer = client.post("/auth/login", data=body, headers=headers, base_url=ORIGIN)
        assert answer.status_code == (422 if len({*names}) == len(names) else 400)
        return time.process_time() - began

    once = min(seconds(*names) for _ in range(3))
    assert min(seconds(*names, names[-1]) for _ in range(3)) < 3 * once
