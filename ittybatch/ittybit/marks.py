"""The metadata that identifies ittybatch's own jobs at Ittybit.

Ittybit returns a job's metadata in answers and webhooks. Our keys start with `PREFIX`, which
users' keys may not start with, so the user's own pairs arrive unchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

PREFIX = "ittybatch_"
_BATCH, _JOB_KEY, _ATTEMPT = (f"{PREFIX}{name}" for name in ("batch_id", "job_key", "attempt"))
# The keys of earlier versions, whose jobs may still be in flight after an upgrade.
_UNPREFIXED = ("batch_id", "job_id", "attempt")
_MAX_ATTEMPT = 1_000_000
_MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class Mark:
    """The batch, the job and the attempt that a job at Ittybit belongs to."""

    batch_id: str
    job_key: str
    attempt: int

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Read the mark from a job's metadata; None if there is no valid one."""
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
        own: The user's pairs, sent unchanged.
        mark: The batch, the job and the attempt.
        item: The item's number in its batch.
        rendition: The rendition's name.
        bucket: The input's bucket, or the host of its URL.
        key: The input's key, or the path of its URL.
    """
    ours = {
        _BATCH: mark.batch_id,
        f"{PREFIX}item_id": f"{mark.batch_id}/{item}",
        _JOB_KEY: mark.job_key,
        # Text like the others: a service that stores only text returns it unchanged.
        _ATTEMPT: str(mark.attempt),
        f"{PREFIX}rendition": rendition,
        f"{PREFIX}source_bucket": bucket,
        f"{PREFIX}source_key": key,
    }
    return {**own, **ours}


def _is_name(value: object) -> bool:
    # Ours are short and printable; a NUL would make Postgres refuse the whole group.
    return isinstance(value, str) and len(value) <= _MAX_NAME and value.isprintable()
