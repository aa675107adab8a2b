"""How the cost of a batch grows: a hundred thousand jobs beside a thousand, end to end.

What a batch costs however small it is, such as the start of its flow runs, is in both. The
sandbox keeps every job that it was given, as Ittybit does, and is not counted among those whose
memory has to stay flat.
"""

from collections.abc import Mapping

from bench.databases import NewLedger
from bench.figure import Figure
from bench.lane import Lane, running
from bench.meter import Cost

FEW, MANY = 1_000, 100_000
CHUNK_ITEMS = 1000
ACTIVE_CHUNKS = 4
_FLOW_RUN = "run "
_NOT_COUNTED = ("sandbox", "others")


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Time a job, and the most memory of each kind of process. Once: it takes long."""
    del rounds
    with running(new_ledger()) as lane:
        # The first batch of a system also pays for what is only loaded when needed.
        _through(lane, FEW)
        few, many = _through(lane, FEW), _through(lane, MANY)
    figures = [
        _figure(database, "time", "us/job", _us(many), _us(few), "at most 1.2"),
        _figure(database, "CPU", "us/job", _cpu_us(many), _cpu_us(few), ""),
    ]
    smaller = _memory_mb(few)
    figures += [
        _figure(database, f"memory of {role}", "MB", mb, smaller[role], "flat")
        for role, mb in _memory_mb(many).items()
        if role in smaller
    ]
    return figures


def _through(lane: Lane, jobs: int) -> Cost:
    return lane.batch(jobs, chunk_size=CHUNK_ITEMS, max_active_chunks=ACTIVE_CHUNKS)[1]


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
