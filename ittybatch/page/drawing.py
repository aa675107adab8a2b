"""Drawings in SVG, made by the server: no script, and a title on every bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from ittybatch.engine.amounts import format_rate
from ittybatch.ledger.pulse import Bar

# Across in percent, so that a narrow drawing has text of the same size; up in pixels.
_WIDTH, _HEIGHT = 100.0, 140.0
_TOP, _BOTTOM = 20.0, 22.0
_GAP = 0.18
_TICKS = 4
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Window:
    """How far a drawing looks back, and into how many bars.

    Args:
        name: Its name in addresses: `1h`.
        words: For people: `hour`.
        over: The time.
        bars: The number of bars, each of whole minutes.
    """

    name: str
    words: str
    over: timedelta
    bars: int


WINDOWS = {
    each.name: each
    for each in (
        Window("1h", "hour", timedelta(hours=1), 60),
        Window("6h", "6 hours", timedelta(hours=6), 72),
        Window("24h", "24 hours", timedelta(hours=24), 72),
    )
}


@dataclass(frozen=True, slots=True)
class DrawnBar:
    """A bar: jobs that succeeded, with those that ended otherwise on top.

    Across in percent of the drawing's width, up in pixels.
    """

    x: float
    width: float
    good_y: float
    good_height: float
    bad_y: float
    bad_height: float
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label of an axis, at its place."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Jobs ended per minute, ready for the template.

    Args:
        height: Height in pixels.
        base: Where the bars stand, in pixels from the top.
        bars: The bars, the oldest first.
        across: Labels of the time axis.
        up: Labels of the amount axis.
        summary: All of it in a sentence.
    """

    height: float
    base: float
    bars: Sequence[DrawnBar]
    across: Sequence[Tick]
    up: Sequence[Tick]
    summary: str


def draw_pulse(bars: Sequence[Bar], window: Window) -> Drawing:
    """Draw the jobs that ended per minute.

    Args:
        bars: The jobs that ended in each stretch of time, the oldest first.
        window: The window that they fill.
    """
    minutes = window.over / window.bars / _MINUTE
    most = max((each.succeeded + each.other for each in bars), default=0) / minutes
    top = _round_up(most)
    base = _HEIGHT - _BOTTOM
    scale = (base - _TOP) / top
    step = _WIDTH / max(1, len(bars))
    drawn = []
    for number, each in enumerate(bars):
        good, bad = each.succeeded / minutes * scale, each.other / minutes * scale
        drawn.append(
            DrawnBar(
                x=round(number * step, 2),
                width=round(step * (1 - _GAP), 2),
                good_y=round(base - good, 2),
                good_height=round(good, 2),
                bad_y=round(base - good - bad, 2),
                bad_height=round(bad, 2),
                title=f"{each.at:%H:%M} UTC: {each.succeeded:,} succeeded, {each.other:,} ended "
                f"otherwise{'' if minutes == 1 else f', in {minutes:.0f} minutes'}",
            )
        )
    every = max(1, len(bars) // _TICKS)
    across = [
        Tick(drawn[number].x, f"{bars[number].at:%H:%M}") for number in range(0, len(bars), every)
    ]
    up = [Tick(base - share * top * scale, format_rate(share * top)) for share in (0.5, 1.0)]
    total = sum(each.succeeded + each.other for each in bars)
    failed = sum(each.other for each in bars)
    summary = (
        f"Jobs ended per minute in the last {window.words}: {total:,} in all, {failed:,} of them "
        f"without success; at most {format_rate(most)} a minute."
    )
    return Drawing(_HEIGHT, base, drawn, across, up, summary)


def _round_up(most: float) -> float:
    """The top of an axis: 1, 2 or 5 times a power of ten, and no less than the largest amount."""
    top = 1.0
    while top < most:
        for factor in (2.0, 5.0, 10.0):
            if top * factor >= most:
                return top * factor
        top *= 10
    return top
