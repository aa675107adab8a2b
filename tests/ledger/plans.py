"""How a database would run the statements that some code executes."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import event

from ittybatch.ledger import Ledger

# Tables with rows of every batch there ever was.
GROWING = (
    "jobs",
    "attempts",
    "deliveries",
    "items",
    "rejects",
    "chunks",
    "runs",
    "outbox",
    "followers",
)
# A chunk has hundreds of jobs: the tables of these are the ones that must never be read through.
LARGE = ("jobs", "attempts", "deliveries", "items")
_MOST = 0.1

Statement = tuple[str, Any]


def statements_of(ledger: Ledger, work: Callable[[], object]) -> list[Statement]:
    """Every statement that some work executes, with its first parameters."""
    found: dict[str, Any] = {}

    def note(_c: object, _cursor: object, text: str, values: Any, _x: object, many: bool) -> None:  # noqa: ANN401  SQLAlchemy's
        found.setdefault(text, values[0] if many else values)

    event.listen(ledger.engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(ledger.engine, "before_cursor_execute", note)
    # An INSERT of values reads nothing, and could not be repeated.
    read = re.compile(r"\s*(SELECT|UPDATE|DELETE|WITH)\b")
    return [(text, values) for text, values in found.items() if read.match(text)]


def scans(ledger: Ledger, statement: Statement, sizes: Mapping[str, int]) -> Iterator[str]:
    """What a statement reads through of a table that grows; nothing where all is well."""
    text, values = statement
    if ledger.engine.dialect.name == "sqlite":
        yield from _scans_of_sqlite(ledger, text, values)
    else:
        yield from _scans_of_postgres(ledger, text, values, sizes)


def _scans_of_sqlite(ledger: Ledger, text: str, values: Any) -> Iterator[str]:  # noqa: ANN401
    with ledger.engine.connect() as connection:
        for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values):
            found = re.match(r"SCAN (\w+)", row.detail)
            if found and found[1] in GROWING and not _ends_at_its_limit(text, found[1]):
                yield row.detail


def _scans_of_postgres(
    ledger: Ledger,
    text: str,
    values: Any,  # noqa: ANN401
    sizes: Mapping[str, int],
) -> Iterator[str]:
    with ledger.engine.connect() as connection, connection.begin() as transaction:
        # These tables are small enough to be read through; where an index serves, it is used.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}"
        [plan] = connection.exec_driver_sql(explain, values).scalar_one()
        transaction.rollback()
    for node in _nodes(plan["Plan"]):
        table = node.get("Relation Name", "")
        if node["Node Type"] == "Seq Scan" and table in GROWING:
            yield f"Seq Scan on {table}"
        read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        read = (read + node.get("Rows Removed by Index Recheck", 0)) * node["Actual Loops"]
        if table in LARGE and read > _MOST * sizes[table]:
            yield f"{node['Node Type']} reads {read:.0f} of {sizes[table]} {table}"


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each)


def _ends_at_its_limit(text: str, table: str) -> bool:
    """Whether it goes from the newest row backwards, and stops."""
    return bool(re.search(rf"ORDER BY {table}\.id DESC\s+LIMIT", text))


def told(faults: Mapping[str, list[str]]) -> str:
    """Faults as a failed test shows them."""
    return json.dumps(faults, indent=2)
