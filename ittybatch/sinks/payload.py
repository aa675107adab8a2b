"""The body of a signed POST: a result in the forms of Ittybit's own webhooks.

The forms are those of the guides. A reader written for Ittybit's webhooks reads them unchanged;
fields of ours come after Ittybit's.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import orjson

from ittybatch.ittybit.times import milliseconds
from ittybatch.sinks.base import ACCEPTED, Result, Status

Form: TypeAlias = Literal["flat", "completed", "envelope"]

_COMPLETED: Final = "completed"
_EVENTS: Final[Mapping[Status, str]] = {
    "processing": "job.processing",
    "succeeded": "job.succeeded",
    "failed": "job.failed",
    "cancelled": "job.failed",
    "expired": "job.failed",
}
# JavaScript has no larger whole numbers.
_MAX_SAFE_INTEGER: Final = 2**53
_INDEX: Final = 2**32 - 1
_MAX_INDEX_DIGITS: Final = 10
# JavaScript writes floats in this range without an exponent.
_PLAIN_FROM: Final = 1e-6
_PLAIN_BELOW: Final = 1e21


def body_of(result: Result, form: Form) -> bytes:
    """Write a result as JSON.

    The bytes are those that `JSON.stringify(JSON.parse(body))` writes in JavaScript, because the
    Express receiver of a guide verifies the signature of that. Integers above 2^53 are the
    exception: JavaScript rounds them, and they are written here as they are.

    Args:
        result: The result.
        form: `flat` has the job at the top level; `completed` is the same with `completed` in
            the place of `succeeded`, and the error as an object; `envelope` has the job of
            `completed` as `data` beside its `event`.
    """
    job = _job(result, form)
    body = {"event": _EVENTS[result.status], "data": job} if form == "envelope" else job
    return orjson.dumps(_as_javascript(body))


def _job(result: Result, form: Form) -> dict[str, Any]:
    succeeded = result.status == "succeeded"
    # Ittybit knows no `expired`: a reader of its webhooks would take it for still running.
    status = "failed" if result.status == "expired" else result.status
    job: dict[str, Any] = {
        "id": result.task_id,
        "status": _COMPLETED if succeeded and form != "flat" else status,
        "kind": result.kind,
        "input": result.input_url,
    }
    if succeeded:
        output = {
            "url": result.output_url,
            "format": result.output_format,
            "width": result.width,
            "height": result.height,
            "duration": result.duration_s,
            "size": result.size_bytes,
        }
        job["output"] = {name: value for name, value in output.items() if value is not None}
    elif result.event != ACCEPTED:
        message = result.error or f"The job ended as {result.status}."
        kind = result.error_kind or result.status
        job["error"] = message if form == "flat" else {"kind": kind, "message": message}
    job |= {
        "metadata": result.metadata,
        "created_at": milliseconds(result.submitted_at or result.created_at),
        "completed_at": milliseconds(result.completed_at),
    }
    if form == "envelope" and result.submitted_at and result.completed_at:
        # The processing time, as in the guide; not the duration of the media.
        job["duration_ms"] = max(
            0, (milliseconds(result.completed_at) or 0) - (milliseconds(result.submitted_at) or 0)
        )
    return job | {
        "job_id": str(result.job_id),
        "batch_id": result.batch_id,
        "profile": result.profile,
        "rendition": result.rendition,
        "destination": result.destination,
    }


def _as_javascript(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Write floats as JavaScript does, and put keys that are array indices first, as it does."""
    if isinstance(value, Mapping):
        items = [(str(key), _as_javascript(each)) for key, each in value.items()]
        return dict(sorted(items, key=lambda item: _order(item[0])))
    if isinstance(value, list | tuple):
        return [_as_javascript(each) for each in value]
    return _float(value) if isinstance(value, float) and math.isfinite(value) else value


def _float(value: float) -> Any:  # noqa: ANN401 - a number, or its text
    """Turn `2.0` into `2`, `5e-06` into `0.000005` and `1e16` into its digits."""
    if value.is_integer() and abs(value) < _MAX_SAFE_INTEGER:
        return int(value)
    # Both languages choose the shortest digits, and differ in where an exponent begins.
    if _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return orjson.Fragment(f"{Decimal(repr(value)):f}".removesuffix(".0"))
    return orjson.Fragment(repr(value).replace("e-0", "e-"))


def _order(key: str) -> int:
    """Sort indices by number, before all other keys, which keep their order."""
    if len(key) > _MAX_INDEX_DIGITS or not (key.isascii() and key.isdigit()):
        return _INDEX
    return min(int(key), _INDEX) if key == str(int(key)) else _INDEX
