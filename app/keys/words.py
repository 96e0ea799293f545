"""What happens to a key next, in plain words."""

from __future__ import annotations

from datetime import datetime

from app.keys.life import Life, State


def about(life: Life, now: datetime) -> str:
    """What a key does, and when that changes."""
    state = life.state(now)
    if life.retired_at is not None:
        return f"since {_time(life.retired_at)}"
    if state is State.PUBLISHED and life.signs_from is not None:
        return f"signs from {_time(life.signs_from)}"
    if state is State.PUBLISHED:
        return f"stand-by, may sign from {_time(life.may_sign_from)}"
    if life.signs_until is None:
        return f"signs since {_time(life.signs_from or life.created_at)}"
    if state is State.ACTIVE:
        return f"signs until {_time(life.signs_until)}"
    return f"stays for its tokens until {_time(life.may_retire_from or life.signs_until)}"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
