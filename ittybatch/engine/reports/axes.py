"""Axes of plots: where a value stands, and which values are labelled."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

_MOST_TICKS = 5
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_TIME_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * each for each in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * each for each in (1, 2, 3, 6, 12)),
    *(_DAY * each for each in (1, 2, 7, 14, 28, 91, 364)),
)
# Round durations, and powers of ten below a second.
_ROUND_S = (
    *(0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30),
    *(_MINUTE * each for each in (1, 2, 5, 10, 20, 30)),
    *(_HOUR * each for each in (1, 2, 5, 12)),
    *(_DAY * each for each in (1, 2, 5, 10, 30, 100)),
)


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from one value to another.

    Args:
        first: The value at its beginning.
        last: The value at its end.
        ends: Where it begins and ends in the drawing.
        ticks: Labelled places.
        logarithmic: Whether equal steps are equal ratios.
    """

    first: float
    last: float
    ends: tuple[float, float]
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a value stands in the drawing."""
        return _place(value, (self.first, self.last), self.ends, logarithmic=self.logarithmic)

    def place_of(self, moment: datetime) -> float:
        """Return where a time stands in the drawing."""
        return self.place(moment.timestamp())


def linear_axis(
    largest: float, ends: tuple[float, float], name: Callable[[int], str] | None = None
) -> Axis:
    """Make an axis from 0.

    Args:
        largest: The largest value that it must show.
        ends: Where it begins and ends in the drawing.
        name: Writes the label of a whole value; a number by default.
    """
    step = _round_step(largest / (_MOST_TICKS - 1))
    if name is not None:
        step = max(1.0, step)
    count = max(1, math.ceil(largest / step - 1e-9))
    last = step * count
    values = [step * number for number in range(count + 1)]
    ticks = [
        (_place(value, (0.0, last), ends), name(round(value)) if name else _number(value))
        for value in values
    ]
    return Axis(0.0, last, ends, ticks)


def log_axis(first: float, last: float, ends: tuple[float, float]) -> Axis:
    """Make a logarithmic axis of durations in seconds."""
    within = [value for value in _ROUND_S if first <= value <= last]
    every = max(1, -(-len(within) // _MOST_TICKS))
    ticks = [
        (_place(value, (first, last), ends, logarithmic=True), _duration(value))
        for value in within[::every] or [first]
    ]
    return Axis(first, last, ends, ticks, logarithmic=True)


def time_axis(first: datetime, last: datetime, ends: tuple[float, float]) -> Axis:
    """Make an axis of times, labelled in UTC."""
    begins, until = first.timestamp(), last.timestamp()
    span = until - begins
    step = next((each for each in _TIME_STEPS if span / each <= _MOST_TICKS), _TIME_STEPS[-1])
    values = range(math.ceil(begins / step) * step, math.floor(until) + 1, step)
    form = "%H:%M:%S" if step < _MINUTE else "%H:%M" if step < _DAY else "%b %d"
    labels = [datetime.fromtimestamp(value, UTC) for value in values]
    days = [True, *(before.date() != after.date() for before, after in pairwise(labels))]
    ticks = [
        (
            _place(moment.timestamp(), (begins, until), ends),
            f"{moment:%b %d} {moment:{form}}" if new_day and step < _DAY else f"{moment:{form}}",
        )
        for moment, new_day in zip(labels, days, strict=False)
    ]
    return Axis(begins, until, ends, ticks)


def _place(
    value: float,
    limits: tuple[float, float],
    ends: tuple[float, float],
    *,
    logarithmic: bool = False,
) -> float:
    first, last = limits
    if logarithmic:
        value, first, last = (math.log(max(each, first)) for each in (value, first, last))
    share = (value - first) / (last - first) if last > first else 0.5
    return ends[0] + share * (ends[1] - ends[0])


def _round_step(least: float) -> float:
    """Return the next larger number that is 1, 2 or 5 times a power of ten."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * each for each in (1, 2, 5, 10) if power * each >= least * (1 - 1e-9))


def _number(value: float) -> str:
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):g}{letter}"
    return f"{value:g}"


def _duration(seconds: float) -> str:
    for unit, letter in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:g} {letter}"
    return f"{seconds:g} s"
