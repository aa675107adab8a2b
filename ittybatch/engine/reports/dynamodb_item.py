"""The item of a job in DynamoDB, with the layout of Ittybit's AWS guide.

Reports write it, and so does the sink `ittybatch.sinks.dynamodb`.
"""

import hashlib
from datetime import datetime
from typing import Final

from ittybatch.ittybit.times import milliseconds
from ittybatch.profiles import Item

_MAX_PK_BYTES: Final = 2048


def guide_values(
    source: str,
    task_id: str,
    submitted_at: datetime | None,
    completed_at: datetime | None,
    **more: str | int | None,
) -> dict[str, str | int | None]:
    """The attributes of a job's item: its key, its source and its times in milliseconds.

    Args:
        source: URI of the source.
        task_id: Ittybit's id of the job.
        submitted_at: When Ittybit accepted it.
        completed_at: When it ended.
        more: The other attributes, by their names; None for those that are absent.
    """
    created, completed = milliseconds(submitted_at), milliseconds(completed_at)
    duration_ms = None
    if created is not None and completed is not None:
        # The clocks of two machines may differ.
        duration_ms = max(0, completed - created)
    return {
        "pk": partition_key(source),
        "sk": f"task#{task_id}",
        "input": Item(source).shown,
        "created_at": created,
        "completed_at": completed,
        "duration_ms": duration_ms,
        **more,
    }


def partition_key(uri: str) -> str:
    """Return the source's key, as in a job's metadata `ittybatch_source_key`.

    DynamoDB allows 2,048 bytes. A longer key is truncated and ends with its hash. The key of a URL
    without a path is its host.
    """
    item = Item(uri)
    key = item.key or item.bucket
    raw = key.encode("utf-8", "replace")
    if len(raw) <= _MAX_PK_BYTES:
        return key
    mark = f"#{hashlib.sha256(raw).hexdigest()}"
    return raw[: _MAX_PK_BYTES - len(mark)].decode("utf-8", "ignore") + mark
