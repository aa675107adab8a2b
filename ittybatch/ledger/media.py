"""What a page needs in order to show the input or the output of one job."""

from dataclasses import dataclass

from sqlalchemy import and_, exists, select
from sqlalchemy.orm import aliased

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Item, Job
from ittybatch.ledger.states import JobState

# Of a 64-bit number; a longer one is no id of ours.
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class JobMedia:
    """A job's input and output.

    Args:
        input: URI of the input.
        output_url: Address of the output; None if there is none yet.
        kind: The job's kind.
    """

    input: str
    output_url: str | None
    kind: str


def read_id(text: str) -> int | None:
    """Read an id of the ledger from an address; None if it cannot be one."""
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return int(text)
    return None


def media_of_job(transaction: Transaction, job: int) -> JobMedia | None:
    """The input and the output of a job; None if there is no such job."""
    rows = transaction.rows(
        select(Item.uri, Job.output_url, Job.kind)
        .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
        .where(Job.id == job)
    )
    return JobMedia(rows[0].uri, rows[0].output_url, rows[0].kind) if rows else None


def source_was_refused(transaction: Transaction, job: int) -> bool:
    """Whether a job of the same item failed because its input cannot be used."""
    other = aliased(Job)
    found = exists().where(
        other.chunk_id == Job.chunk_id,
        other.item_number == Job.item_number,
        other.state == JobState.FAILED.value,
        other.error_kind == "invalid_input",
    )
    return bool(transaction.rows(select(Job.id).where(Job.id == job, found)))
