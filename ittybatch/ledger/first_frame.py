"""A picture of a clip that ends before the picture's `start` is made of the first frame."""

import orjson
from sqlalchemy import select, update

from ittybatch.ittybit.failures import is_past_end
from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ittybit.options import Kind
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.matching import MatchedAttempt
from ittybatch.ledger.models import Job


def take_first_frame(transaction: Transaction, job: RemoteJob, row: MatchedAttempt) -> bool:
    """Drop a picture's `start`, if the job failed because the input ends before it.

    Args:
        transaction: The transaction that settles the job.
        job: The failed job, as Ittybit reports it.
        row: Its attempt in the ledger.

    Returns:
        Whether `start` was dropped, so that another attempt is worth making.
    """
    error = job.error
    if row.kind != Kind.IMAGE or error is None or not is_past_end(error.kind, error.message):
        return False
    this = Job.id == row.id
    options = orjson.loads(transaction.execute(select(Job.options).where(this)).scalar_one())
    if not options.pop("start", None):
        return False
    changed = orjson.dumps(options, option=orjson.OPT_SORT_KEYS).decode()
    transaction.execute(update(Job).where(this).values(options=changed))
    return True
