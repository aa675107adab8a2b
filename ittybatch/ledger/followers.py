"""Followers: requests for jobs that exist, whose own metadata wants the result, too."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import select, tuple_

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.made_jobs import MadeJob
from ittybatch.ledger.models import Follower

_ROWS_PER_QUERY = 200


@dataclass(frozen=True, slots=True)
class Following:
    """A request for a job that exists.

    Args:
        job: The job, locked if it is open.
        metadata: The request's own metadata.
    """

    job: MadeJob
    metadata: Mapping[str, Any]


def follow(transaction: Transaction, requests: Sequence[Following]) -> list[int]:
    """Record the requests whose metadata is not that of the job or of another follower.

    Returns:
        The ids of the new followers.
    """
    wanted = {}
    for each in requests:
        # The same job may have been made in the group's transaction with other metadata.
        if orjson.loads(each.job.user_metadata) == dict(each.metadata):
            continue
        text = orjson.dumps(each.metadata, option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(text).hexdigest()[:32]
        wanted[each.job.id, digest] = text.decode()
    keys = sorted(wanted)
    for start in range(0, len(keys), _ROWS_PER_QUERY):
        some = keys[start : start + _ROWS_PER_QUERY]
        known = transaction.rows(
            select(Follower.job_id, Follower.digest).where(
                tuple_(Follower.job_id, Follower.digest).in_(some)
            )
        )
        for row in known:
            del wanted[row.job_id, row.digest]
    if not wanted:
        return []
    rows = transaction.execute(
        transaction.insert_new(Follower).returning(Follower.id),
        [
            {
                "job_id": job,
                "digest": digest,
                "user_metadata": text,
                "created_at": transaction.now,
            }
            for (job, digest), text in sorted(wanted.items())
        ],
    )
    return [row.id for row in rows]
