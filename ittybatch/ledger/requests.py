"""Requests with an Idempotency-Key: one that comes again gets the jobs of the first."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Request

# A row as it is stored: the job's id, and whether the request made it.
Jobs = Sequence[tuple[int, bool]]
_KEYS_PER_QUERY = 500
# In a stored answer: retention keeps it longer.
BY_FLOW_RUN = "by_flow_run"


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer to a request, to keep under its key.

    Args:
        key: Digest of the Idempotency-Key.
        digest: Digest of the body.
        jobs: Its jobs.
        by_flow_run: Whether a flow run made it, which may sleep before it makes it again.
    """

    key: str
    digest: str
    jobs: Jobs
    by_flow_run: bool = False


@dataclass(frozen=True, slots=True)
class Repeat:
    """A request whose key is known.

    Args:
        same_body: Whether its body is that of the first.
        jobs: The jobs of the first.
        first: Its place, if the first is in the same group.
    """

    same_body: bool
    jobs: Jobs = ()
    first: int | None = None


def find_repeats(
    transaction: Transaction, requests: Sequence[tuple[str | None, str]]
) -> dict[int, Repeat]:
    """Find the requests of a group whose keys are known, by their places.

    Args:
        transaction: The transaction to look in. It serialises requests, so that two with one key
            cannot both be the first.
        requests: The digest of the key, if there is one, and that of the body.
    """
    keys = sorted({key for key, _ in requests if key is not None})
    known = {
        row.key: row
        for start in range(0, len(keys), _KEYS_PER_QUERY)
        for row in transaction.rows(
            select(Request.key, Request.digest, Request.answer).where(
                Request.key.in_(keys[start : start + _KEYS_PER_QUERY])
            )
        )
    }
    first: dict[str, int] = {}
    found: dict[int, Repeat] = {}
    for place, (key, digest) in enumerate(requests):
        if key is None:
            continue
        if (row := known.get(key)) is not None:
            jobs = [(int(job), bool(created)) for job, created in row.answer["jobs"]]
            found[place] = Repeat(row.digest == digest, jobs)
        elif key in first:
            same = requests[first[key]][1] == digest
            found[place] = Repeat(same, first=first[key])
        else:
            first[key] = place
    return found


def keep_answers(transaction: Transaction, answers: Sequence[Kept]) -> None:
    """Keep the answers of new requests."""
    if answers:
        transaction.execute(
            transaction.insert_new(Request),
            [
                {
                    "key": each.key,
                    "digest": each.digest,
                    "created_at": transaction.now,
                    "answer": {
                        "jobs": [list(job) for job in each.jobs],
                        **({BY_FLOW_RUN: True} if each.by_flow_run else {}),
                    },
                }
                for each in answers
            ],
        )


def renew_answer(transaction: Transaction, key: str) -> None:
    """Keep the answer of a request of a flow run as if it had been made now."""
    this = Request.key == key
    answer = transaction.execute(select(Request.answer).where(this)).scalar_one()
    transaction.execute(
        update(Request)
        .where(this)
        # Versions before the mark did not write it.
        .values(created_at=transaction.now, answer={**answer, BY_FLOW_RUN: True})
    )
