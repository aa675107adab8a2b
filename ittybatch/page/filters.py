"""What templates use to show times, amounts and long names."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from ittybatch.engine.amounts import format_bytes, format_count, format_duration, format_rate
from ittybatch.ittybit.redaction import redacted, without_secrets
from ittybatch.profiles.item import Item

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_ELLIPSIS = "…"
_REPLACEMENT = "\ufffd"
# The colour and mark of a state, see page.css. Any other state is shown without colour.
TONES: Mapping[str, str] = {
    **dict.fromkeys(("succeeded", "ok", "applied", "delivered", "done"), "good"),
    **dict.fromkeys(
        ("failed", "broken", "refused", "some_failed", "malformed", "unavailable"), "bad"
    ),
    **dict.fromkeys(
        ("held", "unapproved", "expired", "warning", "unknown", "late", "partly", "silent"), "warn"
    ),
    **dict.fromkeys(
        ("running", "planning", "submitting", "submitted", "sending", "accepted", "released"),
        "busy",
    ),
}
_WORDS = {
    "unapproved": "waits for approval",
    "some_failed": "some failed",
    "submitted": "at Ittybit",
    "submitting": "being sent",
    "planned": "waiting",
    "expired": "given up",
}


def age(when: datetime | None) -> str:
    """How long ago: `12 s ago`, `3 min ago`, `5 h ago`, `2 d ago`; `in 3 min` for the future."""
    if when is None:
        return ""
    seconds = (datetime.now(UTC) - when).total_seconds()
    amount = int(abs(seconds))
    if amount < _MINUTE_S:
        text = f"{amount} s"
    elif amount < _HOUR_S:
        text = f"{amount // _MINUTE_S} min"
    elif amount < 2 * _DAY_S:
        text = f"{amount // _HOUR_S} h"
    else:
        text = f"{amount // _DAY_S} d"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


def when(moment: datetime | None, *, seconds: bool = False) -> Markup:
    """A time with its zone and age, as a `<time>`; the day only if it is not today."""
    if moment is None:
        return Markup('<span class="muted">never</span>')
    utc = moment.astimezone(UTC)
    clock = f"{utc:%H:%M:%S}" if seconds else f"{utc:%H:%M}"
    day = "" if utc.date() == datetime.now(UTC).date() else f"{utc:%Y-%m-%d} "
    return Markup(
        '<time datetime="{iso}" title="{iso}">{shown} UTC<span class="age">, {age}</span></time>'
    ).format(iso=utc.isoformat(timespec="seconds"), shown=f"{day}{clock}", age=age(moment))


def count(number: float | None) -> str:
    """A number with thousands separators; `?` if it is unknown."""
    return "?" if number is None else f"{number:,}"


def cut(text: object, length: int = 48) -> Markup:
    """A long name cut in the middle, whole on hover; signatures and passwords are removed."""
    whole = visible(text)
    if len(whole) <= length:
        return Markup('<span class="name">{}</span>').format(whole)
    tail = length // 2
    head = length - tail - 1
    short = f"{whole[:head]}{_ELLIPSIS}{whole[-tail:]}"
    # The cut text is for the eyes: a screen reader reads the whole one.
    return Markup(
        '<span class="name" title="{whole}"><span aria-hidden="true">{short}</span>'
        '<span class="hidden">{whole}</span></span>'
    ).format(whole=whole, short=short)


def source(uri: str, length: int = 48) -> Markup:
    """A source's URI, shortened. For an upload: its file name, with the URI on hover."""
    name = Item(uri).uploaded_as
    if not name:
        return cut(uri, length)
    return Markup('<span title="{}">{}</span>').format(visible(uri), cut(name, length))


def finalize(value: object) -> object:
    """Replace invisible characters in a value that a template writes.

    A character that reverses the text direction could make one name look like another. Jinja
    calls this for every value; use `exact` to skip it.
    """
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(
        each if each.isprintable() or each in "\n\t" else " " if each.isspace() else _REPLACEMENT
        for each in value
    )


def exact(value: object) -> Markup:
    """A value for an attribute, such as a form's hidden field: unchanged, but HTML-escaped."""
    return escape(value)


def visible(text: object) -> str:
    """Untrusted text to show: passwords and signatures removed, invisible characters replaced."""
    return str(finalize(without_secrets(str(text))))


def state(value: object) -> Markup:
    """The badge of a state: its word, with a mark and a colour."""
    return Markup('<span class="badge {tone}">{word}</span>').format(
        tone=TONES.get(str(value), "idle"), word=state_word(value)
    )


def state_word(value: object) -> str:
    """The word shown for a state, such as `waiting` for `planned`; by default its own name."""
    text = str(value)
    return _WORDS.get(text, text.replace("_", " "))


def plain(text: object) -> str:
    """Like `redacted`, for any value: masks keys, tokens and query strings."""
    return redacted(str(text))


def code(text: object) -> Markup:
    """A text whose parts in backquotes are shown as code."""
    parts = str(finalize(plain(text))).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


def percent(part: float, whole: float) -> str:
    """A share as a whole number of percent; 100 only if it is all."""
    if not whole:
        return "0%"
    share = 100 * part / whole
    return f"{int(share) if share < 100 else 100}%"  # noqa: PLR2004  percent


def live(url: str) -> Markup:
    """The htmx attributes of a region that reloads when something changed.

    The viewer's own actions show at once. Other changes show at most once a second.
    """
    return Markup(
        'hx-get="{}" hx-trigger="changed from:body throttle:1s, acted from:body" '
        'hx-swap="innerMorph" '
        'hx-sync="this:queue last"'
    ).format(escape(url))


FILTERS: Mapping[str, Callable[..., Any]] = {
    "age": age,
    "when": when,
    "count": count,
    "plural": format_count,
    "bytes": format_bytes,
    "duration": format_duration,
    "rate": format_rate,
    "cut": cut,
    "source": source,
    "redacted": redacted,
    "state": state,
    "state_word": state_word,
    "visible": visible,
    "exact": exact,
    "plain": plain,
    "code": code,
    "percent": percent,
    "live": live,
}
