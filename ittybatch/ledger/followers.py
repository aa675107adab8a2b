"""Followers: requests for jobs that exist, whose own metadata wants the result, too."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import select, tuple_, union_all
from sqlalchemy.orm import aliased

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.made_jobs import MadeJob
from ittybatch.ledger.models import Follower, Job
from ittybatch.ledger.outbox import note_followed

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


def follow(transaction: Transaction, requests: Sequence[Following]) -> None:
    """Record the requests whose metadata is not that of the job or of another follower.

    Sinks hear of them at once if the job has ended.
    """
    wanted: dict[tuple[int, str], str] = {}
    for each in requests:
        if orjson.loads(each.job.user_metadata) != dict(each.metadata):
            _add(wanted, each.job.id, each.metadata)
    _insert(transaction, wanted)


def inherit(transaction: Transaction, earlier: Sequence[int], *, own: bool) -> None:
    """Let followers of earlier jobs follow the jobs that now have the claims.

    Args:
        transaction: The transaction that made the new jobs.
        earlier: The jobs that were replaced.
        own: Whether the requests that made these become followers as well: they were never sent.
    """
    old, new = aliased(Job), aliased(Job)
    wanted: dict[tuple[int, str], str] = {}
    for start in range(0, len(earlier), _ROWS_PER_QUERY):
        some = earlier[start : start + _ROWS_PER_QUERY]
        pairs = (
            select(new.id, new.user_metadata.label("given"), old.user_metadata)
            .join(old, (old.job_key == new.job_key) & new.claim.is_not(None) & (new.id > old.id))
            .where(old.id.in_(some))
        )
        followers = (
            select(new.id, new.user_metadata.label("given"), Follower.user_metadata)
            .join(old, (old.job_key == new.job_key) & new.claim.is_not(None) & (new.id > old.id))
            .join(Follower, Follower.job_id == old.id)
            .where(old.id.in_(some))
        )
        for row in transaction.rows(union_all(pairs, followers) if own else followers):
            metadata = orjson.loads(row.user_metadata)
            if metadata != orjson.loads(row.given):
                _add(wanted, row.id, metadata)
    _insert(transaction, wanted)


def _add(wanted: dict[tuple[int, str], str], job: int, metadata: Mapping[str, Any]) -> None:
    text = orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS)
    wanted[job, hashlib.sha256(text).hexdigest()[:32]] = text.decode()


def _insert(transaction: Transaction, wanted: dict[tuple[int, str], str]) -> None:
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
        return
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
    note_followed(transaction, [row.id for row in rows])
