"""Marks: the metadata by which ittybatch recognises its own jobs.

Ittybit echoes a job's metadata in answers and webhooks. Every name of ours begins with
`PREFIX`, which no metadata of a user may begin with, so the user's pairs arrive as given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

PREFIX = "ittybatch_"
_BATCH, _JOB_KEY, _ATTEMPT = (f"{PREFIX}{name}" for name in ("batch_id", "job_key", "attempt"))
# What earlier versions sent; their jobs may still be in flight after an upgrade.
_UNPREFIXED = ("batch_id", "job_id", "attempt")
_MAX_ATTEMPT = 1_000_000
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Mark:
    """Which attempt at which job of which batch a remote job is."""

    batch_id: str
    job_key: str
    attempt: int

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Read the mark of a job; None where it has none, or one that cannot be ours."""
        ours = any(name in metadata for name in (_BATCH, _JOB_KEY, _ATTEMPT))
        names = (_BATCH, _JOB_KEY, _ATTEMPT) if ours else _UNPREFIXED
        batch, job_key, attempt = (metadata.get(name) for name in names)
        try:
            number = int(attempt)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return None
        if not (0 < number <= _MAX_ATTEMPT and _is_name(batch) and _is_name(job_key)):
            return None
        return cls(str(batch), str(job_key), number)


def marked_metadata(
    own: Mapping[str, Any],
    mark: Mark,
    *,
    item: int,
    rendition: str,
    bucket: str,
    key: str,
) -> dict[str, Any]:
    """Add our marks to a user's metadata.

    Args:
        own: The user's pairs, which are sent as they are.
        mark: Which attempt it is.
        item: The item's number in its batch.
        rendition: The rendition's name.
        bucket: The input's bucket, or the host of its URL.
        key: The input's key, or the path of its URL.
    """
    ours = {
        _BATCH: mark.batch_id,
        f"{PREFIX}item_id": f"{mark.batch_id}/{item}",
        _JOB_KEY: mark.job_key,
        # As text, like all others: a service that keeps only text echoes it unchanged.
        _ATTEMPT: str(mark.attempt),
        f"{PREFIX}rendition": rendition,
        f"{PREFIX}source_bucket": bucket,
        f"{PREFIX}source_key": key,
    }
    return {**own, **ours}


def _is_name(value: object) -> bool:
    # Our names are short and printable; Postgres would refuse a NUL, and the group with it.
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable()
