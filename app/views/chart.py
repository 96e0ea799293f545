"""A bar chart as SVG: where everything is. The template draws it, the stylesheet colours it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Final

from app.administration import SignIns

WIDTH: Final = 480
HEIGHT: Final = 210
LEFT, RIGHT, TOP, BOTTOM = 46, 4, 14, 28
LINES: Final = 4


@dataclass(frozen=True)
class Bar:
    """A rectangle; `kind` is what the stylesheet knows it by."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Label:
    """A text at a place: along the left side a number, below a day."""

    text: str
    place: float


@dataclass(frozen=True)
class Chart:
    """A drawing of that size, whose bars stand on `floor`."""

    bars: Sequence[Bar]
    numbers: Sequence[Label]
    days: Sequence[Label]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    floor: int = HEIGHT - BOTTOM


def of_sign_ins(days: Sequence[SignIns]) -> Chart:
    """Draw the sign-ins of days, those that failed upon those that succeeded."""
    top = _round_up(max((day.succeeded + day.failed for day in days), default=0))
    height = HEIGHT - TOP - BOTTOM
    step = (WIDTH - LEFT - RIGHT) / max(len(days), 1)
    bars = [
        bar
        for place, day in enumerate(days)
        for bar in _stack(day, LEFT + place * step + step * 0.15, step * 0.7, height / top)
    ]
    numbers = [
        Label(f"{round(top * line / LINES):,}", round(HEIGHT - BOTTOM - height * line / LINES, 1))
        for line in range(LINES + 1)
        if top * line % LINES == 0
    ]
    shown = [place for place in range(len(days)) if (len(days) - 1 - place) % 7 == 0]
    labels = [
        Label(f"{days[place].day:%-d %b}", round(LEFT + (place + 0.5) * step, 1)) for place in shown
    ]
    return Chart(bars, numbers, labels, _summary(days))


def _stack(day: SignIns, x: float, width: float, scale: float) -> Iterator[Bar]:
    floor = float(HEIGHT - BOTTOM)
    for kind, count in (("succeeded", day.succeeded), ("failed", day.failed)):
        if count:
            height = max(count * scale, 1.0)
            floor -= height
            yield Bar(kind, round(x, 1), round(floor, 1), round(width, 1), round(height, 1))


def _round_up(number: int) -> int:
    """The least round number that is not below, and that the lines divide well."""
    if number <= LINES:
        return LINES
    power: int = 10 ** int(log10(number))
    steps = [ceil(part * power) for part in (1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10, 12)]
    return next(top for top in steps if top >= number and top % LINES == 0)


def _summary(days: Sequence[SignIns]) -> str:
    succeeded, failed = sum(day.succeeded for day in days), sum(day.failed for day in days)
    return (
        f"In the last {len(days)} days {succeeded:,} sign-ins succeeded and {failed:,} failed."
        " The table below has the numbers of each day."
    )
