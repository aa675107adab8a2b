"""Jobs that a text names exactly: by an id, a key, or a whole address."""

import re

from sqlalchemy import and_, select

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.lookups import of_neighbours
from ittybatch.ledger.models import Attempt, Item, Job
from ittybatch.profiles.job import JOB_KEY_LENGTH

# Of a 64-bit number; a longer one is no id of ours.
_NUMBER = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(rf"[0-9a-f]{{{JOB_KEY_LENGTH}}}")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+", re.DOTALL)
_MAX_ID_CHARS = 200
# Jobs of an address and of its neighbours: a few hundred items, with a few jobs each.
_MOST_NEIGHBOURS = 20_000


def exact_jobs(transaction: Transaction, text: str, limit: int) -> list[int]:
    """Ids of the jobs that a text names, the newest first.

    Args:
        transaction: The transaction to look in.
        text: Ittybit's id of an attempt, the ledger's id of a job, a job key, or the whole
            address of an input or a destination.
        limit: The maximum number.
    """
    found: set[int] = set()
    if _NUMBER.fullmatch(text):
        found.update(row.id for row in transaction.rows(select(Job.id).where(Job.id == int(text))))
    if _KEY.fullmatch(text):
        query = select(Job.id).where(Job.job_key == text)
        found.update(row.id for row in transaction.rows(query.limit(limit)))
    if len(text) <= _MAX_ID_CHARS:
        tasks = select(Attempt.job_id).where(Attempt.task_id == text)
        found.update(row.job_id for row in transaction.rows(tasks.limit(limit)))
    if _ADDRESS.fullmatch(text):
        written = select(Job.id).where(Job.destination == text, Job.destination.is_not(None))
        found.update(row.id for row in transaction.rows(written.limit(limit)))
        found.update(_of_input(transaction, text))
    return sorted(found, reverse=True)[:limit]


def _of_input(transaction: Transaction, uri: str) -> list[int]:
    """Jobs of items with this address. Their keys begin with a few digits of its digest."""
    neighbours = (
        select(Job.id, Job.chunk_id, Job.item_number)
        .where(of_neighbours([uri]))
        .limit(_MOST_NEIGHBOURS)
        .subquery("neighbours")
    )
    rows = transaction.rows(
        select(neighbours.c.id)
        .join(
            Item,
            and_(
                Item.chunk_id == neighbours.c.chunk_id,
                Item.number == neighbours.c.item_number,
            ),
        )
        .where(Item.uri == uri)
    )
    return [row.id for row in rows]
