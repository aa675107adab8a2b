"""Jobs of an object that a request could not identify, or identifies better than before.

A request looks at the object that it names. If the store does not answer, the object is identified
by its URI alone, and its jobs have other keys than those of a scan or of a later request. They are
the same jobs, and must not be paid for twice.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.lookups import of_neighbours
from ittybatch.ledger.models import Attempt, Item, Job
from ittybatch.ledger.plan import PlannedItem
from ittybatch.ledger.states import JobState
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.profiles.job import ITEM_KEY_LENGTH, item_key

_KEYS_PER_QUERY = 500
_URIS_PER_QUERY = 100
# Jobs of the URIs of a query and of their neighbours: a few hundred items each, with a few jobs.
_MOST_NEIGHBOURS = 20_000


class _Claimed(NamedTuple):
    """A job with a claim: nobody else may make it."""

    job_key: str
    state: str
    sent_at: datetime | None

    def may_answer(self, *, again: bool) -> bool:
        """Whether it can stand for a wanted job, which `again` makes anew once it has ended."""
        return not (again and JobState(self.state).terminal)

    def has_read(self, modified_at: datetime | None) -> bool:
        """Whether what it makes is of the object as it was written at this time."""
        if self.state == JobState.PLANNED or self.sent_at is None:
            return True
        return modified_at is not None and modified_at <= self.sent_at


def same_jobs(
    transaction: Transaction, wanted: Sequence[tuple[PlannedItem, bool]]
) -> list[dict[str, str]]:
    """Find the jobs that requests want under another identity of the same object.

    An object with a fingerprint has the jobs of its URI alone, unless it has jobs of its own, or
    was written after those had been sent. An object without one has the newest jobs of its URI.

    Args:
        transaction: The transaction to look in.
        wanted: Items of requests, each with whether its finished jobs are made again. Only `s3://`
            inputs have two identities.

    Returns:
        For each item, keys to use by wanted keys; empty if it keeps its own.
    """
    found: list[dict[str, str]] = [{} for _ in wanted]
    objects = [
        (place, planned, again)
        for place, (planned, again) in enumerate(wanted)
        if planned.item.uri.startswith(S3_SCHEME)
    ]
    known = [each for each in objects if each[1].item.fingerprint is not None]
    unknown = [each for each in objects if each[1].item.fingerprint is None]
    claimed = _claimed(transaction, _keys_of([planned for _, planned, _ in known]))
    in_group: dict[tuple[str, str], str] = {}
    for place, planned, again in known:
        bare = _bare_key(planned)
        for job in planned.jobs:
            ending = job.job_key[ITEM_KEY_LENGTH:]
            other = claimed.get(bare + ending)
            if (
                other is not None
                and job.job_key not in claimed
                and other.may_answer(again=again)
                and other.has_read(planned.item.modified_at)
            ):
                found[place][job.job_key] = other.job_key
            if not again:
                key = found[place].get(job.job_key, job.job_key)
                in_group[planned.item.uri, ending] = key
    newest = _newest(transaction, {planned.item.uri for _, planned, _ in unknown})
    for place, planned, again in unknown:
        for job in planned.jobs:
            named = (planned.item.uri, job.job_key[ITEM_KEY_LENGTH:])
            other = newest.get(named)
            if other is not None and other.may_answer(again=again):
                found[place][job.job_key] = other.job_key
            elif other is None and named in in_group and not again:
                found[place][job.job_key] = in_group[named]
    return found


def _bare_key(planned: PlannedItem) -> str:
    return item_key(replace(planned.item, fingerprint=None))


def _keys_of(items: Sequence[PlannedItem]) -> list[str]:
    """The jobs' own keys, and those of the same jobs of their URIs alone."""
    return sorted(
        {
            key
            for planned in items
            for job in planned.jobs
            for key in (job.job_key, _bare_key(planned) + job.job_key[ITEM_KEY_LENGTH:])
        }
    )


def _claimed(transaction: Transaction, keys: Sequence[str]) -> Mapping[str, _Claimed]:
    found: dict[str, _Claimed] = {}
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        some = keys[start : start + _KEYS_PER_QUERY]
        rows = transaction.rows(
            select(Job.job_key, Job.state, Attempt.sent_at)
            .outerjoin(Attempt, and_(Attempt.job_id == Job.id, Attempt.number == Job.attempt))
            .where(Job.job_key.in_(some), Job.claim.is_(True))
        )
        found |= {row.job_key: _Claimed(*row) for row in rows}
    return found


def _newest(transaction: Transaction, uris: Collection[str]) -> Mapping[tuple[str, str], _Claimed]:
    """The newest claimed job of each URI and of what is asked for, the end of its key."""
    names = sorted(uris)
    return {
        (row.uri, row.job_key[ITEM_KEY_LENGTH:]): _Claimed(row.job_key, row.state, None)
        for start in range(0, len(names), _URIS_PER_QUERY)
        for row in _jobs_of(transaction, names[start : start + _URIS_PER_QUERY])
    }


def _jobs_of(transaction: Transaction, uris: Sequence[str]) -> Iterator[Any]:
    """Claimed jobs of these URIs, the oldest first."""
    neighbours = (
        select(Job.id, Job.chunk_id, Job.item_number, Job.job_key, Job.state)
        .where(of_neighbours(uris), Job.claim.is_(True))
        .limit(_MOST_NEIGHBOURS)
        .subquery("neighbours")
    )
    item = and_(Item.chunk_id == neighbours.c.chunk_id, Item.number == neighbours.c.item_number)
    yield from transaction.rows(
        select(Item.uri, neighbours.c.job_key, neighbours.c.state)
        .join(Item, item)
        .where(Item.uri.in_(uris))
        .order_by(neighbours.c.id)
    )
