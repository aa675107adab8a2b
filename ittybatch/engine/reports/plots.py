"""Plots of a batch: how long jobs took, when they ended, when they failed, and sizes.

Here is where everything stands, in the units of the drawing; `templates/plot.svg` draws it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ittybatch.engine.amounts import format_bytes, format_count, format_duration
from ittybatch.engine.reports.axes import Axis, linear_axis, log_axis, time_axis
from ittybatch.engine.reports.renditions import RenditionTally
from ittybatch.engine.reports.tally import Tally
from ittybatch.engine.reports.timeline import Timeline

WIDTH = 480.0
_HEIGHT = 200.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 12.0, 14.0, 30.0
_NAMES_LEFT = 112.0
_DURATION_BARS = 40
_GAP = 0.5
_WIDEST_BAR = 28.0
_MOST_RENDITIONS = 12
_NAME_CHARS = 14
_ROW = 34.0
_MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, and the text that a pointer on it shows. `tone` is its colour's name."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line with a label, which stands at `y` and ends or begins at the line."""

    x: float
    y: float
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing.

    Args:
        name: Its file's name, without the suffix.
        title: What it shows, with the unit.
        text: What it shows, for people who do not see it.
        height: Height of the drawing; its width is `WIDTH`.
        left: Where the area of the bars begins.
        right: Where it ends.
        top: Its upper edge.
        bottom: Its lower edge.
        bars: The bars.
        across: Ticks of the horizontal axis: place and label.
        up: Ticks of the vertical axis: place and label.
        lines: Whether ticks of the vertical axis have grid lines.
        marks: Vertical lines with a label.
        legend: Names of the tones, where there are several.
    """

    name: str
    title: str
    text: str
    height: float
    left: float
    right: float
    top: float
    bottom: float
    bars: Sequence[Bar]
    across: Sequence[tuple[float, str]]
    up: Sequence[tuple[float, str]]
    lines: bool = True
    marks: Sequence[Mark] = ()
    legend: Sequence[tuple[str, str]] = ()


def plots_of(tally: Tally) -> list[Plot]:
    """Draw what a batch has figures for."""
    drawn = (_durations(tally), _throughput(tally.ends), _failures(tally.ends), _sizes(tally))
    return [plot for plot in drawn if plot is not None]


def _durations(tally: Tally) -> Plot | None:
    times = tally.times
    mean, p95 = times.mean, times.quantile(0.95)
    if mean is None or p95 is None:
        return None
    bars = list(times.bars(_DURATION_BARS))
    across = log_axis(bars[0][0], bars[-1][1], (_LEFT, WIDTH - _RIGHT))
    up = linear_axis(max(count for _, _, count in bars), _up())
    drawn = [
        _column(
            (across.place(low), across.place(high)),
            (up.place(0), up.place(count)),
            "one",
            f"{format_count(count, 'job')} took {format_duration(low)} to {format_duration(high)}",
        )
        for low, high, count in bars
        if count
    ]
    return _standing(
        "durations",
        "Time from submission to end (jobs)",
        f"{format_count(times.count, 'job')}: mean {format_duration(mean)}, 95% within "
        f"{format_duration(p95)}, longest {format_duration(times.largest)}.",
        drawn,
        (across, up),
        marks=(
            _mark(across.place(mean), 0, f"mean {format_duration(mean)}"),
            _mark(across.place(p95), 1, f"95% {format_duration(p95)}"),
        ),
    )


def _throughput(ends: Timeline) -> Plot | None:
    bins = list(ends.bins())
    if not bins:
        return None
    per_minute = _MINUTE_S / ends.width_s
    across = _times(bins, ends.width_s)
    up = linear_axis(max(good + bad for _, good, bad in bins) * per_minute, _up())
    bars: list[Bar] = []
    for begins, good, bad in bins:
        sides = across.place_of(begins), across.place_of(begins + timedelta(seconds=ends.width_s))
        text = f"{begins:%Y-%m-%d %H:%M:%S} UTC: {good:,} succeeded, {bad:,} did not"
        low, middle, high = (up.place(count * per_minute) for count in (0, good, good + bad))
        bars += [_column(sides, (low, middle), "good", text)] if good else []
        bars += [_column(sides, (middle, high), "bad", text)] if bad else []
    ended = sum(good + bad for _, good, bad in bins)
    return _standing(
        "throughput",
        "Jobs ended a minute (UTC)",
        f"{format_count(ended, 'job')} ended between {bins[0][0]:%Y-%m-%d %H:%M:%S} and "
        f"{bins[-1][0]:%Y-%m-%d %H:%M:%S} UTC.",
        bars,
        (across, up),
        legend=(("good", "succeeded"), ("bad", "did not succeed")),
    )


def _failures(ends: Timeline) -> Plot | None:
    bins = list(ends.bins())
    failed = sum(bad for _, _, bad in bins)
    if not failed:
        return None
    across = _times(bins, ends.width_s)
    up = linear_axis(max(bad for _, _, bad in bins), _up())
    bars = [
        _column(
            (across.place_of(begins), across.place_of(begins + timedelta(seconds=ends.width_s))),
            (up.place(0), up.place(bad)),
            "bad",
            f"{begins:%Y-%m-%d %H:%M:%S} UTC: {format_count(bad, 'job')} did not succeed, "
            f"{good:,} did",
        )
        for begins, good, bad in bins
        if bad
    ]
    return _standing(
        "failures",
        f"Jobs that did not succeed, per {format_duration(ends.width_s)} (UTC)",
        f"{format_count(failed, 'job')} did not succeed.",
        bars,
        (across, up),
    )


def _sizes(tally: Tally) -> Plot | None:
    sized = [(name, each) for name, each in tally.renditions.items() if each.sized]
    if not sized:
        return None
    shown = sorted(sized, key=_most_bytes, reverse=True)[:_MOST_RENDITIONS]
    bottom = _TOP + _ROW * len(shown)
    across = linear_axis(
        max(max(each.input_bytes, each.output_bytes) for _, each in shown),
        (_NAMES_LEFT, WIDTH - _RIGHT),
        _bytes,
    )
    bars: list[Bar] = []
    names: list[tuple[float, str]] = []
    for number, (name, each) in enumerate(shown):
        row = _TOP + _ROW * number
        names.append((row + _ROW / 2, _cut(name)))
        for step, tone, size in ((4.0, "one", each.input_bytes), (17.0, "two", each.output_bytes)):
            what = "inputs" if tone == "one" else "outputs"
            width = across.place(size) - _NAMES_LEFT
            text = f"{name}: {format_bytes(size)} of {what}, {format_count(each.sized, 'job')}"
            bars.append(Bar(_NAMES_LEFT, row + step, width, 12.0, tone, text))
    title = "Size of inputs and outputs, by rendition"
    if len(shown) < len(sized):
        title += f" (the largest {len(shown)} of {len(sized)})"
    return Plot(
        "sizes",
        title,
        "; ".join(
            f"{name}: {format_bytes(each.input_bytes)} in, {format_bytes(each.output_bytes)} out"
            for name, each in shown
        ),
        bottom + _BOTTOM,
        _NAMES_LEFT,
        WIDTH - _RIGHT,
        _TOP,
        bottom,
        bars,
        across.ticks,
        names,
        lines=False,
        legend=(("one", "inputs"), ("two", "outputs")),
    )


def _standing(
    name: str,
    title: str,
    text: str,
    bars: Sequence[Bar],
    axes: tuple[Axis, Axis],
    *,
    marks: Sequence[Mark] = (),
    legend: Sequence[tuple[str, str]] = (),
) -> Plot:
    """Make a plot of upright bars. `axes` are the horizontal and the vertical one."""
    across, up = axes
    return Plot(
        name,
        title,
        text,
        _HEIGHT,
        _LEFT,
        WIDTH - _RIGHT,
        _TOP,
        _HEIGHT - _BOTTOM,
        bars,
        across.ticks,
        up.ticks,
        marks=marks,
        legend=legend,
    )


def _up() -> tuple[float, float]:
    return _HEIGHT - _BOTTOM, _TOP


def _times(bins: Sequence[tuple[datetime, int, int]], width_s: int) -> Axis:
    ends = bins[-1][0] + timedelta(seconds=width_s)
    return time_axis(bins[0][0], ends, (_LEFT, WIDTH - _RIGHT))


def _column(sides: tuple[float, float], ends: tuple[float, float], tone: str, text: str) -> Bar:
    left, right = sides
    lower, upper = ends
    width = min(max(right - left - _GAP, _GAP), _WIDEST_BAR)
    middle = (left + right) / 2
    return Bar(middle - width / 2, upper, width, lower - upper, tone, text)


def _mark(x: float, line: int, text: str) -> Mark:
    """Put a label on a line of its own, on the side where there is more space."""
    return Mark(x, _TOP - 3 + 12 * line, text, "start" if x < WIDTH / 2 else "end")


def _most_bytes(sized: tuple[str, RenditionTally]) -> int:
    return max(sized[1].input_bytes, sized[1].output_bytes)


def _bytes(size: int) -> str:
    """Label a round size: `200 GB`, without decimals."""
    return format_bytes(size).replace(".0 ", " ") if size else "0"


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_CHARS else f"{name[: _NAME_CHARS - 1]}…"
