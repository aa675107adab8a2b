"""How the cost of a batch grows: a million jobs beside ten thousand, end to end.

What a batch costs however small it is, such as the start of its flow runs, is in both. The
sandbox keeps every job that it was given, as Ittybit does, and is not counted among those whose
memory has to stay flat.
"""

from collections.abc import Mapping

from sqlalchemy import text

from bench.databases import NewLedger
from bench.figure import Figure
from bench.lane import Lane, running
from bench.meter import Cost
from ittybatch.ledger import Ledger

FEW, MANY = 10_000, 1_000_000
_WARM = 1_000
# The small batch keeps all of its chunks busy, too.
CHUNK_ITEMS = 2500
ACTIVE_CHUNKS = 4
_FLOW_RUN = "run "
_NOT_COUNTED = ("sandbox", "others")


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Time, CPU and room of a job, and the most memory of each kind of process.

    Once: on two cores it takes the better part of an hour.
    """
    del rounds
    with running(new_ledger()) as lane:
        # The first batch of a system also pays for what is only loaded when needed.
        _through(lane, _WARM)
        few, few_bytes = _through(lane, FEW)
        many, many_bytes = _through(lane, MANY)
    figures = [
        _figure(database, "time", "us/job", _us(many), _us(few), "at most 1.2"),
        _figure(database, "CPU", "us/job", _cpu_us(many), _cpu_us(few), ""),
        _figure(database, "the ledger", "B/job", many_bytes, few_bytes, "at most 1.2"),
    ]
    smaller = _memory_mb(few)
    figures += [
        _figure(database, f"memory of {role}", "MB", mb, smaller[role], "flat")
        for role, mb in _memory_mb(many).items()
        if role in smaller
    ]
    return figures


def _through(lane: Lane, jobs: int) -> tuple[Cost, float]:
    """What a batch cost, and the bytes that each of its jobs added to the ledger."""
    before = _bytes(lane.system.ledger)
    cost = lane.batch(jobs, chunk_size=CHUNK_ITEMS, max_active_chunks=ACTIVE_CHUNKS)[1]
    return cost, (_bytes(lane.system.ledger) - before) / jobs


def _bytes(ledger: Ledger) -> int:
    """Of the whole database, without the room that dead rows leave."""
    if ledger.engine.dialect.name == "postgresql":
        query = "SELECT pg_database_size(current_database())"
        with ledger.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("VACUUM"))
    else:
        query = (
            "SELECT (page_count - freelist_count) * page_size"
            " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        )
    size: int = ledger.read(lambda tx: tx.execute(text(query)).scalar_one())
    return size


def _memory_mb(cost: Cost) -> Mapping[str, float]:
    """The most of any process of a role; of flow runs, the largest."""
    found: dict[str, float] = {}
    for name, mb in cost.peak_mb.items():
        role = "a flow run" if name.startswith(_FLOW_RUN) else name
        if role not in _NOT_COUNTED:
            found[role] = max(mb, found.get(role, 0.0))
    return found


def _us(cost: Cost) -> float:
    return 1e6 * cost.took_s / cost.jobs


def _cpu_us(cost: Cost) -> float:
    return 1000 * cost.cpu_ms_per_job


def _figure(  # noqa: PLR0917  a figure has so many parts
    database: str, of: str, unit: str, many: float, few: float, target: str
) -> Figure:
    return Figure(
        bench="growth",
        what=f"{database}: {of}, a batch of {MANY:,} jobs",
        unit=unit,
        ours=[many],
        reference=f"one of {FEW:,}",
        theirs=[few],
        target=target,
    )
