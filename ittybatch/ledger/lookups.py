"""What planning looks up for a page: the jobs of its keys, its destinations and its items.

Each lookup is one statement for a whole page. On Postgres, a LATERAL subquery with a LIMIT or an
OFFSET makes the planner look up each value in an index. Otherwise it would scan the whole table
while a table that grows with each page has no statistics yet.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    true,
)

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Batch, Chunk, Item, Job
from ittybatch.ledger.states import WILL_NOT_SEND, JobState
from ittybatch.profiles.job import key_beginnings

_IDS_PER_QUERY = 5000
_WILL_NOT_SEND = sorted(state.value for state in WILL_NOT_SEND)
_HELD_BACK = [JobState.FAILED.value, JobState.CANCELLED.value, JobState.EXPIRED.value]
_WROTE_NOTHING = [JobState.FAILED.value, JobState.CANCELLED.value]
_JOBS = Job.__table__
# Every hexadecimal digit sorts before a `g`.
_AFTER_ANY_DIGIT = "g"


def of_neighbours(uris: Collection[str]) -> ColumnElement[bool]:
    """The condition that a job is of an item with one of these URIs, or of a neighbour of one.

    It reads a few ranges of the index of job keys. The caller compares the items' URIs.

    Args:
        uris: URIs as sources named the items: a hundred at most, for SQLite bounds the depth of
            an expression.
    """
    beginnings = {each for uri in uris for each in key_beginnings(uri)}
    return or_(
        *(
            and_(Job.job_key >= beginning, Job.job_key < beginning + _AFTER_ANY_DIGIT)
            for beginning in sorted(beginnings)
        )
    )


class HeldItems(NamedTuple):
    """Items with all their jobs held by other batches.

    Args:
        places: Their indexes in the item keys that were looked up.
        counts: Their jobs, counted by why they are held, with the names of `plan_page`.
    """

    places: Sequence[int]
    counts: dict[str, int]


class KnownJob(NamedTuple):
    """A job that some batch made earlier, and its state."""

    id: int
    chunk_id: int
    job_key: str
    claim: bool | None
    state: str
    attempt: int
    batch_id: str
    batch_state: str


class Occupant(NamedTuple):
    """A job that writes to a destination, or has written there.

    Args:
        destination: The destination.
        batch: Its batch; None in a dry run for a job of that dry run.
        uri: URI of its item.
        fingerprint: Fingerprint of its item.
        line: Line of the manifest that named its item.
    """

    destination: str
    batch: str | None
    uri: str
    fingerprint: str | None
    line: int | None


def jobs_of_keys(transaction: Transaction, keys: Sequence[str]) -> list[KnownJob]:
    """Find every job with these keys, of any batch.

    Args:
        transaction: The transaction to look in.
        keys: Job keys, each once.
    """
    return [KnownJob(*row) for row in fetch_jobs(transaction, keys, _known)]


def fetch_jobs(
    transaction: Transaction, keys: Sequence[str], columns: Callable[[Any], Sequence[Any]]
) -> Sequence[Sequence[Any]]:
    """Fetch columns of every job with these keys, and of its chunk and batch.

    Args:
        transaction: The transaction to look in.
        keys: Job keys, each once.
        columns: Returns the columns, of text and numbers, when called with those of the jobs.
    """
    postgres = transaction.postgres
    values = list(keys) if postgres else orjson.dumps(keys).decode()
    rows = transaction.rows(_jobs_query(columns, postgres=postgres), {"values": values})
    return rows if postgres else orjson.loads(rows[0][0])


@cache
def _jobs_query(columns: Callable[[Any], Sequence[Any]], *, postgres: bool) -> Select[Any]:
    """The query of `fetch_jobs`, made once: making it takes as long as it takes to run."""
    given = _table_of(bindparam("values", type_=ARRAY(Text) if postgres else Text))
    source, jobs = _join_jobs(given, _JOBS.c.job_key == given.c.value, postgres=postgres)
    query = select(*columns(jobs)).select_from(source).join(Chunk, Chunk.id == jobs.chunk_id)
    query = query.join(Batch, Batch.id == Chunk.batch_id)
    return query if postgres else _as_one_row(query)


def lock_jobs(transaction: Transaction, ids: Sequence[int]) -> Iterator[KnownJob]:
    """Lock jobs in the order of their ids, and read them again."""
    for some in _slices(sorted(ids)):
        rows = transaction.rows(
            select(*_known(_JOBS.c))
            .join(Chunk, Chunk.id == Job.chunk_id)
            .join(Batch, Batch.id == Chunk.batch_id)
            .where(Job.id.in_(some))
            .order_by(Job.id)
            .with_for_update(of=Job)
        )
        yield from (KnownJob(*row) for row in rows)


def occupants_of(transaction: Transaction, destinations: Sequence[str]) -> list[Occupant]:
    """Find the jobs of any batch that write to these destinations, or have written there.

    Args:
        transaction: The transaction to look in.
        destinations: The destinations, each once.
    """
    given = _given(transaction, destinations)
    source, jobs = _join_jobs(
        given,
        and_(
            _JOBS.c.destination == given.c.value,
            _JOBS.c.destination.is_not(None),
            # The output of a succeeded job exists, even if a job that makes it again has the claim.
            or_(
                _JOBS.c.state == JobState.SUCCEEDED.value,
                and_(_JOBS.c.claim.is_not(None), _JOBS.c.state.not_in(_WROTE_NOTHING)),
            ),
        ),
        postgres=transaction.postgres,
    )
    ids = [row[0] for row in _fetch(transaction, select(jobs.id).select_from(source))]
    return [
        Occupant(*row)
        for some in _slices(ids)
        for row in transaction.rows(
            select(Job.destination, Chunk.batch_id, Item.uri, Item.fingerprint, Item.line)
            .join(Chunk, Chunk.id == Job.chunk_id)
            .join(Item, and_(Item.chunk_id == Job.chunk_id, Item.number == Job.item_number))
            .where(Job.id.in_(some))
            .order_by(Job.id)
        )
    ]


def held_items(
    transaction: Transaction, batch: str | None, item_keys: Sequence[str], recipes: Sequence[str]
) -> HeldItems:
    """Find the items that already have a held job for each of these recipes.

    This runs before their jobs are made. A job's key begins with its item's key, so the jobs of
    an item are adjacent in the index. A job's recipe identifies its rendition, without the part
    of the destination that depends on the item. Items that may have a new job, a job to take
    over, or a duplicate are left to `plan_page`.

    Args:
        transaction: The transaction to look in.
        batch: The batch that is being planned; None for a dry run.
        item_keys: Keys of the items, from `profiles.job.item_key`.
        recipes: The recipes that each item is to get, each once.
    """
    given = _given(transaction, item_keys)
    of_item = and_(
        _JOBS.c.job_key > given.c.value, _JOBS.c.job_key < given.c.value + _AFTER_ANY_DIGIT
    )
    source, jobs = _join_jobs(
        given,
        and_(of_item, _JOBS.c.recipe.in_(recipes), _is_held(batch)),
        # The planner estimates that a range holds one job in two hundred. The limit, which no
        # item exceeds, corrects the estimate.
        limit=len(recipes),
        postgres=transaction.postgres,
    )
    items = (
        select(
            given.c.key,
            func.count().label("jobs"),
            func.sum(case((jobs.state == JobState.SUCCEEDED.value, 1), else_=0)).label("done"),
            func.sum(case((jobs.state.in_(_HELD_BACK), 1), else_=0)).label("held_back"),
        )
        .select_from(source)
        .group_by(given.c.key)
        .having(func.count() == len(recipes))
    )
    rows = _fetch(transaction, items)
    if not rows:
        return HeldItems((), {})
    places, *sums = zip(*rows, strict=True)
    total, done, held_back = map(sum, sums)
    counts = {
        "already_done": done,
        "held_back": held_back,
        "in_flight_elsewhere": total - done - held_back,
    }
    first = 1 if transaction.postgres else 0
    return HeldItems(
        [place - first for place in places],
        {name: count for name, count in counts.items() if count},
    )


def _is_held(batch: str | None) -> ColumnElement[bool]:
    """Whether a job is claimed, and was sent or will be sent by its batch.

    The batch that is being planned has sent nothing yet, so its own jobs do not count here.
    """
    will_be_sent = (
        select(Chunk.id)
        .join(Batch, Batch.id == Chunk.batch_id)
        .where(
            Chunk.id == _JOBS.c.chunk_id,
            Batch.id != (batch or ""),
            Batch.state.not_in(_WILL_NOT_SEND),
        )
        .exists()
    )
    return and_(
        _JOBS.c.claim.is_not(None), or_(_JOBS.c.state != JobState.PLANNED.value, will_be_sent)
    )


def _known(jobs: Any) -> Sequence[Any]:  # noqa: ANN401  the columns of jobs, or of a subquery
    return (
        jobs.id,
        jobs.chunk_id,
        jobs.job_key,
        jobs.claim,
        jobs.state,
        jobs.attempt,
        Chunk.batch_id,
        Batch.state.label("batch_state"),
    )


def _given(transaction: Transaction, values: Sequence[str]) -> FromClause:
    """These strings as a table of `value` and `key`, the index: from 1 on Postgres, else from 0."""
    if transaction.postgres:
        return _table_of(literal(list(values), ARRAY(Text)))
    return _table_of(literal(orjson.dumps(values).decode(), Text))


def _table_of(strings: ColumnElement[Any]) -> FromClause:
    """The table of `_given`, of an array on Postgres, else of a JSON array."""
    if isinstance(strings.type, ARRAY):
        unnested = func.unnest(strings)
        given = unnested.table_valued("value", with_ordinality="key", name="given")
        return given.render_derived()
    return func.json_each(strings).table_valued("key", "value", name="given")


def _join_jobs(
    given: FromClause,
    condition: ColumnElement[bool],
    *,
    postgres: bool,
    limit: int | None = None,
) -> tuple[FromClause, Any]:
    """Join jobs to the given values; return the join and the columns of the jobs."""
    if not postgres:
        return given.join(_JOBS, condition), _JOBS.c
    found = select(_JOBS).where(condition).limit(limit)
    if limit is None:
        found = found.offset(0)
    jobs = found.lateral("found")
    return given.join(jobs, true()), jobs.c


def _fetch(transaction: Transaction, query: Select[Any]) -> Sequence[Sequence[Any]]:
    if transaction.postgres:
        return transaction.rows(query)
    fetched: list[list[Any]] = orjson.loads(transaction.execute(_as_one_row(query)).scalar_one())
    return fetched


def _as_one_row(query: Select[Any]) -> Select[Any]:
    """On SQLite: the driver releases the GIL for each row that it fetches."""
    found = query.subquery("found")
    return select(func.json_group_array(func.json_array(*found.c)))


def _slices(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + _IDS_PER_QUERY] for start in range(0, len(ids), _IDS_PER_QUERY))
