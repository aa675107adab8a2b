"""Format bytes, durations and counts for people."""

import humanize

_MINUTE_S = 60
_WHOLE = 10


def format_bytes(size: int | None) -> str:
    """Format a size in decimal units; an unknown size is an empty string."""
    return "" if size is None else humanize.naturalsize(size)


def format_total(size: int, items: int) -> str:
    """Format the total size of items; a total of 0 bytes means that their sizes are unknown."""
    return "unknown" if items and not size else format_bytes(size)


def format_change(before: int, after: int) -> str:
    """Format how much smaller or larger something has become: `40% smaller (2.0 MB)`.

    Args:
        before: Its size before, in bytes, more than 0.
        after: Its size after, in bytes.
    """
    saved = before - after
    change = "smaller" if saved >= 0 else "larger"
    return f"{abs(saved) / before:,.0%} {change} ({format_bytes(abs(saved))})"


def format_count(count: int, what: str, many: str | None = None) -> str:
    """Format a count and its noun: `1 row`, `2 rows`; `many` is an irregular plural."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {many or what + 's'}"


def format_rate(amount: float) -> str:
    """Format an amount per time: whole from 10, with one decimal below, `0.1` at least."""
    if amount >= _WHOLE or amount == round(amount):
        return f"{amount:,.0f}"
    return f"{max(amount, 0.1):.1f}"


def format_duration(seconds: float | None) -> str:
    """Format a duration as `2.5 s`, `1:30` or `1:02:05`; an unknown one is an empty string."""
    if seconds is None:
        return ""
    if round(seconds, 1) < _MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    hours, minutes = divmod(minutes, _MINUTE_S)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
