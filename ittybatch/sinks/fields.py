"""The fields of a result that templates and conditions may name."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from ittybatch.ittybit.times import milliseconds
from ittybatch.profiles.template import METADATA_PREFIX
from ittybatch.sinks.base import Result

_PLAIN: Final = (
    *("task_id", "batch_id", "batch_name", "profile", "rendition", "kind", "event", "status"),
    *("input_url", "bucket", "key", "destination", "output_url", "output_format"),
    *("width", "height", "duration_s", "size_bytes", "error_kind", "error", "attempts"),
)
_TIMES: Final = ("created_at", "submitted_at", "completed_at", "now")
MILLISECONDS: Final = "_ms"
ISO: Final = "_iso"


def iso(moment: datetime | None) -> str | None:
    """A time as ISO 8601 in UTC, such as `2026-11-27T11:00:00.000Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(name: str) -> Callable[[Result], datetime | None]:
    if name == "now":
        return lambda _: datetime.now(UTC)
    return lambda result: getattr(result, name)


def _plain(name: str) -> Callable[[Result], Any]:
    return lambda result: getattr(result, name)


def _readers() -> Mapping[str, Callable[[Result], Any]]:
    readers: dict[str, Callable[[Result], Any]] = {name: _plain(name) for name in _PLAIN}
    # Ids are text outside of the ledger.
    readers["job_id"] = lambda result: str(result.job_id)
    readers["first_task_id"] = lambda result: result.first_task_id or result.task_id
    readers["metadata"] = lambda result: dict(result.metadata)
    for name in _TIMES:
        read = readers[name] = _time(name)
        readers[name + MILLISECONDS] = lambda result, read=read: milliseconds(read(result))  # type: ignore[misc]
        readers[name + ISO] = lambda result, read=read: iso(read(result))  # type: ignore[misc]
    return readers


_READERS: Final = _readers()
FIELDS: Final = tuple(sorted(_READERS))


def value_of(result: Result, name: str) -> Any:  # noqa: ANN401 - columns have any type
    """Return the value of a field with its type; None if the result has none.

    Args:
        result: The result.
        name: One of `FIELDS`, or `metadata.NAME`; dots lead into nested metadata.
    """
    if name.startswith(METADATA_PREFIX):
        return _from_metadata(result.metadata, name.removeprefix(METADATA_PREFIX))
    return _READERS[name](result)


def as_text(value: Any) -> str:  # noqa: ANN401 - any value of a field
    """Write a value as text; None is empty, and times are ISO 8601."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case datetime():
            return iso(value) or ""
        case dict() | list():
            return orjson.dumps(value).decode()
        case _:
            return str(value)


def _from_metadata(metadata: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON
    if name in metadata:
        return metadata[name]
    value: Any = metadata
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value
