"""A page's rows as they go into the ledger: one statement a table, its rows as one JSON value.

SQLite works through such a statement without the interpreter, which meanwhile reads the next
page. What a page's jobs have in common is given once, as their order: of a million jobs of a
rendition only key, destination and metadata differ.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.models import Chunk
from ittybatch.ledger.states import ChunkState

Rows = Sequence[Sequence[Any]]
# Kind, rendition, options, recipe, attempts, seconds of backoff, seconds until the deadline.
Order = tuple[str, str, str, str | None, int, float, float]


class _Insert:
    """An insert of the rows of a JSON array of arrays.

    Args:
        table: Where they go.
        columns: Column and type of each value of a row, in order.
    """

    def __init__(self, table: str, columns: Mapping[str, str]) -> None:
        names = ", ".join(columns)
        self._sqlite = (
            f"INSERT INTO {table} ({names}) SELECT "  # noqa: S608  names of this file alone
            f"{', '.join(_of_sqlite('r', place) for place in range(len(columns)))} "
            "FROM json_each(?) AS r"
        )
        values = (_of_postgres("r", place, kind) for place, kind in enumerate(columns.values()))
        self._postgres = (
            f"INSERT INTO {table} ({names}) SELECT {', '.join(values)} "  # noqa: S608
            "FROM json_array_elements(%s::json) AS r(value)"
        )

    def run(self, transaction: Transaction, rows: Rows) -> None:
        if rows:
            text = self._postgres if transaction.postgres else self._sqlite
            transaction.connection.exec_driver_sql(text, (_json(rows),))


def _of_sqlite(table: str, place: int, _kind: str = "") -> str:
    return f"json_extract({table}.value, '$[{place}]')"


def _of_postgres(table: str, place: int, kind: str) -> str:
    return f"({table}.value->>{place})::{kind}"


insert_items = _Insert(
    "items",
    {
        "chunk_id": "bigint",
        "number": "integer",
        "uri": "text",
        "fingerprint": "text",
        "size_bytes": "bigint",
        "modified_at": "timestamptz",
        "line": "integer",
    },
).run

insert_rejects = _Insert(
    "rejects",
    {
        "batch_id": "text",
        "number": "integer",
        "line": "integer",
        "field": "text",
        "reason": "text",
        "row": "text",
    },
).run

# Whatever counters a chunk has begin as its model says.
_CHUNK_DEFAULTS = {
    column.name: getattr(column.default, "arg", None)
    for column in Chunk.__table__.columns
    if column.default is not None and column.name not in {"items", "planned"}
}
_insert_chunks = _Insert(
    "chunks",
    {
        "batch_id": "text",
        "number": "integer",
        "state": "text",
        "items": "integer",
        "planned": "integer",
        **dict.fromkeys(_CHUNK_DEFAULTS, "integer"),
    },
).run
_CHUNK_IDS = "FROM (SELECT id FROM chunks WHERE batch_id = {0} AND number >= {0} ORDER BY number)"
_SQLITE_CHUNK_IDS = f"SELECT json_group_array(id) {_CHUNK_IDS.format('?')}"
_POSTGRES_CHUNK_IDS = f"SELECT json_agg(id) {_CHUNK_IDS.format('%s')} AS found"

_JOB_COLUMNS = (
    "chunk_id, item_number, kind, rendition, options, recipe, destination, user_metadata, job_key, "
    "claim, state, attempt, attempts, last_attempt, backoff_s, deadline_s"
)
_ORDER_KINDS = ("text", "text", "text", "text", "integer", "double precision", "double precision")
_SQLITE_JOBS = f"""
WITH orders AS MATERIALIZED (
    SELECT o.key AS place, {", ".join(f"{_of_sqlite('o', n)} AS o{n}" for n in range(7))}
    FROM json_each(?) AS o
)
INSERT INTO jobs ({_JOB_COLUMNS})
SELECT {_of_sqlite("r", 0)}, {_of_sqlite("r", 1)}, o0, o1, o2, o3,
    {_of_sqlite("r", 3)}, {_of_sqlite("r", 4)}, {_of_sqlite("r", 5)}, 1, 'planned',
    {_of_sqlite("r", 6)}, o4, {_of_sqlite("r", 6)} + o4, o5, o6
FROM json_each(?) AS r CROSS JOIN orders WHERE orders.place = {_of_sqlite("r", 2)}
"""  # noqa: S608  numbers of this file alone
_POSTGRES_JOBS = f"""
WITH orders AS MATERIALIZED (
    SELECT place - 1 AS place, {
    ", ".join(f"{_of_postgres('o', n, kind)} AS o{n}" for n, kind in enumerate(_ORDER_KINDS))
}
    FROM json_array_elements(%s::json) WITH ORDINALITY AS o(value, place)
)
INSERT INTO jobs ({_JOB_COLUMNS})
SELECT {_of_postgres("r", 0, "bigint")}, {_of_postgres("r", 1, "integer")}, o0, o1, o2, o3,
    r.value->>3, r.value->>4, r.value->>5, true, 'planned', {_of_postgres("r", 6, "integer")}, o4,
    {_of_postgres("r", 6, "integer")} + o4, o5, o6
FROM json_array_elements(%s::json) WITH ORDINALITY AS r(value, number)
JOIN orders ON orders.place = {_of_postgres("r", 2, "bigint")}
ORDER BY r.number
"""  # noqa: S608


def insert_jobs(transaction: Transaction, orders: Sequence[Order], rows: Rows) -> None:
    """Insert planned jobs, each with its claim.

    Args:
        transaction: The transaction to do it in.
        orders: What jobs have in common.
        rows: For each job its chunk, its item's number, the place of its order, its
            destination, metadata as JSON, key, and how many attempts earlier batches made.
    """
    if rows:
        text = _POSTGRES_JOBS if transaction.postgres else _SQLITE_JOBS
        transaction.connection.exec_driver_sql(text, (_json(orders), _json(rows)))


_HELD = """
FROM {keys} JOIN jobs ON jobs.job_key = given.value
JOIN chunks ON chunks.id = jobs.chunk_id JOIN batches ON batches.id = chunks.batch_id
"""
_HELD_COLUMNS = (
    "jobs.id, jobs.chunk_id, jobs.job_key, jobs.claim, jobs.state, jobs.attempt, "
    "chunks.batch_id, batches.state"
)
_SQLITE_HELD = (
    f"SELECT json_group_array(json_array({_HELD_COLUMNS})) "
    f"{_HELD.format(keys='json_each(?) AS given CROSS')}"
)
_POSTGRES_HELD = (
    f"SELECT {_HELD_COLUMNS} "
    f"{_HELD.format(keys='json_array_elements_text(%s::json) AS given(value)')}"
)


def jobs_of_keys(transaction: Transaction, keys: Sequence[str]) -> Rows:
    """Every job of these keys that any batch ever made.

    Returns:
        For each its id, chunk, key, claim, state, attempts made, batch, and that batch's state.
    """
    if transaction.postgres:
        found = transaction.connection.exec_driver_sql(_POSTGRES_HELD, (_json(keys),))
        return [tuple(row) for row in found]
    # One row: for each row that it fetches, the driver gives the interpreter away.
    text = transaction.connection.exec_driver_sql(_SQLITE_HELD, (_json(keys),)).scalar_one()
    rows: Rows = orjson.loads(text)
    return rows


def insert_chunks(
    transaction: Transaction, batch: str, first_number: int, sizes: Sequence[tuple[int, int]]
) -> list[int]:
    """Insert chunks that follow each other.

    Args:
        transaction: The transaction to do it in.
        batch: Their batch.
        first_number: Number of the first one.
        sizes: Items and jobs of each.

    Returns:
        Their ids, in order.
    """
    if not sizes:
        return []
    rest = tuple(_CHUNK_DEFAULTS.values())
    rows = [
        (batch, number, ChunkState.PLANNED.value, items, jobs, *rest)
        for number, (items, jobs) in enumerate(sizes, first_number)
    ]
    _insert_chunks(transaction, rows)
    text = _POSTGRES_CHUNK_IDS if transaction.postgres else _SQLITE_CHUNK_IDS
    found = transaction.connection.exec_driver_sql(text, (batch, first_number)).scalar_one()
    ids: list[int] = orjson.loads(found) if isinstance(found, str) else found
    return ids


def _json(rows: object) -> str:
    return orjson.dumps(rows).decode()
