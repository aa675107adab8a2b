"""Bytes, seconds and counts as people read them."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
_MINUTE_S = 60


def format_bytes(size: int | None) -> str:
    """A size in decimal units, empty where unknown."""
    if size is None:
        return ""
    amount = float(size)
    for unit in _UNITS:
        if amount < _STEP or unit == _UNITS[-1]:
            break
        amount /= _STEP
    return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"


def format_total(size: int, items: int) -> str:
    """The size of all items together. Nothing at all means that no item's size is known."""
    return "unknown" if items and not size else format_bytes(size)


def format_count(count: int, what: str, many: str | None = None) -> str:
    """A count with what is counted: `1 row`, `2 rows`; `many` is the plural where `s` is not."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {many or what + 's'}"


def format_duration(seconds: float | None) -> str:
    """A duration, empty where unknown."""
    if seconds is None:
        return ""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    hours, minutes = divmod(minutes, _MINUTE_S)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
