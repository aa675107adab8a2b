"""Jobs of an object that a request could not identify, or identifies better than before.

A request looks at the object that it names. If the store does not answer, the object is identified
by its URI alone, and its jobs have other keys than those of a scan or of a later request. They are
the same jobs, and must not be paid for twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, or_, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Item, Job
from ittybatch.ledger.plan import PlannedItem
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.profiles.job import ITEM_KEY_LENGTH, item_key, key_beginnings

# Every hexadecimal digit sorts before a `g`.
_AFTER_ANY_DIGIT = "g"
_KEYS_PER_QUERY = 500


def same_jobs(transaction: Transaction, items: Sequence[PlannedItem]) -> dict[str, str]:
    """Find jobs that are claimed under another identity of the same object.

    An object with a fingerprint has the jobs of its URI alone, unless it was written after they
    ended. An object without one has the newest jobs of its URI.

    Args:
        transaction: The transaction to look in.
        items: Items of requests. Only `s3://` inputs have two identities.

    Returns:
        The key of the existing job, by the key of the wanted one.
    """
    objects = [each for each in items if each.item.uri.startswith(S3_SCHEME)]
    found = _of_uri_alone(
        transaction, [each for each in objects if each.item.fingerprint is not None]
    )
    for each in objects:
        if each.item.fingerprint is None:
            found |= _of_any_fingerprint(transaction, each)
    return found


def _of_uri_alone(transaction: Transaction, items: Sequence[PlannedItem]) -> dict[str, str]:
    aliases = {
        item_key(replace(each.item, fingerprint=None)) + job.job_key[ITEM_KEY_LENGTH:]: (
            job.job_key,
            each.item.modified_at,
        )
        for each in items
        for job in each.jobs
    }
    found: dict[str, str] = {}
    for row in _claimed(transaction, list(aliases)):
        wanted, modified_at = aliases[row.job_key]
        if row.completed_at is None or (modified_at and row.completed_at >= modified_at):
            found[wanted] = row.job_key
    return found


def _claimed(transaction: Transaction, keys: Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        some = keys[start : start + _KEYS_PER_QUERY]
        yield from transaction.rows(
            select(Job.job_key, Job.completed_at).where(Job.job_key.in_(some), Job.claim.is_(True))
        )


def _of_any_fingerprint(transaction: Transaction, planned: PlannedItem) -> dict[str, str]:
    uri = planned.item.uri
    ranges = [
        and_(Job.job_key >= beginning, Job.job_key < beginning + _AFTER_ANY_DIGIT)
        for beginning in sorted(key_beginnings(uri))
    ]
    rows = transaction.rows(
        select(Job.job_key)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(or_(*ranges), Job.claim.is_(True), Item.uri == uri)
        .order_by(Job.id)
    )
    wanted = {job.job_key[ITEM_KEY_LENGTH:]: job.job_key for job in planned.jobs}
    return {
        wanted[ending]: row.job_key
        for row in rows
        if (ending := row.job_key[ITEM_KEY_LENGTH:]) in wanted
    }
