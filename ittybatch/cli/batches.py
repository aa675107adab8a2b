"""The command that shows batches."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from ittybatch.cli.output import (
    Column,
    Json,
    Limit,
    Wide,
    console,
    print_json,
    print_table,
    styled,
)
from ittybatch.cli.plan_table import plan_lines
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.naming import source_name
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.reports.entries import batch_summary
from ittybatch.engine.speed import Speed, speed_of
from ittybatch.ledger import open_ledger
from ittybatch.ledger.asking import Problems, problems_of
from ittybatch.ledger.queries import (
    BatchStatus,
    batch_status,
    find_batch,
    idle_batches,
    recent_batches,
)
from ittybatch.ledger.results import rendition_counts
from ittybatch.ledger.sinks import sink_statuses
from ittybatch.ledger.states import IN_FLIGHT_JOBS, BatchState, JobState
from ittybatch.settings import Settings
from ittybatch.sinks.checking import describe_sink

_ENDED_BADLY = (JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED)


def status(
    batch: Annotated[
        str | None, Parameter(help="Id of a batch, or `latest`. Default: list the newest batches.")
    ] = None,
    *,
    limit: Annotated[Limit, Parameter(help="Maximum number of batches to list.")] = 20,
    every: Annotated[
        bool, Parameter(name="--all", negative="", help="Also list scans that found nothing to do.")
    ] = False,
    wide: Wide = False,
    json: Json = False,
) -> int:
    """Show the newest batches, or one batch in detail."""
    ledger = open_ledger(Settings())
    if batch is not None:
        found = ledger.read(batch_status, ledger.read(find_batch, batch))
        problems = ledger.read(problems_of, found.id)
        speed = speed_of(ledger, found)
        if json:
            print_json(_as_json(found, speed, problems))
            return SUCCEEDED
        _show_one(found, speed, problems)
        _show_renditions(ledger.read(rendition_counts, found.id))
        return SUCCEEDED
    batches = ledger.read(recent_batches, limit, idle=every)
    if json:
        print_json([{**batch_summary(each), "counts": each.counts} for each in batches])
        return SUCCEEDED
    print_table(
        "Batches",
        (
            "Batch",
            Column("Name", cut=True, from_width=100),
            Column("Source", cut=True),
            Column("Profile", cut=True, from_width=100),
            "State",
            Column.number("Jobs"),
            Column.number("Done"),
            Column("At Ittybit", right=True, from_width=120),
            Column.number("Failed"),
            Column("Started", from_width=120),
        ),
        [
            (
                each.id,
                each.name,
                source_name(each.source),
                each.profile,
                each.state,
                each.counts["jobs"],
                each.counts["succeeded"],
                each.counts["in_flight"],
                each.counts["failed"] + each.counts["expired"],
                _local(each.created_at),
            )
            for each in batches
        ],
        wide=wide,
    )
    for each in batches:
        if each.reason and not each.state.ended:
            line = f"{each.id} is {each.state.value}: {each.reason}"
            console.print(line, markup=False, soft_wrap=False)
    for sink in ledger.read(sink_statuses):
        if trouble := describe_sink(sink):
            console.print(f"Sink {sink.name}: {trouble}", markup=False, soft_wrap=False)
    if not every and (idle := ledger.read(idle_batches)):
        scans = "1 scan" if idle == 1 else f"{idle:,} scans"
        console.print(f"{scans} found nothing to do; `ittybatch status --all` shows all batches.")
    return SUCCEEDED


def _as_json(found: BatchStatus, speed: Speed, problems: Problems | None) -> dict[str, Any]:
    return {
        **asdict(found),
        "state": found.state.value,
        "per_minute": speed.per_minute,
        "left_s": speed.left_s,
        "problems": asdict(problems) if problems else None,
    }


def _show_one(found: BatchStatus, speed: Speed, problems: Problems | None) -> None:
    """Print one line per property of a batch, without those that do not apply."""
    counts = found.counts
    at_ittybit, planned = counts["in_flight"], counts["planned"]
    bad = [
        f"{counts[state.value]:,} {state.value}" for state in _ENDED_BADLY if counts[state.value]
    ]
    done = [f"{counts['succeeded']:,} of {counts['jobs']:,} succeeded", *bad]
    done += [f"{at_ittybit:,} at Ittybit"] if at_ittybit else []
    done += [f"{planned:,} not submitted yet"] if planned else []
    lines: list[tuple[str, object]] = [
        ("State", found.state),
        ("Reason", found.reason),
        ("Waiting", problems.describe() if problems else None),
        ("Name", found.name),
        ("Source", source_name(found.source)),
        ("Profile", found.profile),
        ("Options", _chosen(found.options)),
        ("Started", _local(found.created_at)),
        ("Ended", _local(found.ended_at)),
        ("Flow run", found.flow_run_id),
        ("Jobs", ", ".join(done)),
        ("Retried", f"{found.retried:,} took more than one attempt" if found.retried else None),
        ("Chunks", f"{found.chunks_done:,} of {found.chunks:,} done"),
        ("Speed", speed.describe() if found.state is BatchState.RUNNING else None),
    ]
    if found.waits_for_room:
        lines.append(("Next chunk", "waits for capacity under ITTYBATCH_MAX_IN_FLIGHT"))
    if found.tidied_at is not None:
        removed = "webhooks' bodies, polled answers and rejected rows were removed"
        lines.append(("Tidied", f"{_local(found.tidied_at)}: {removed}"))
    # `counts` already has the jobs. The plan adds what was left out, and why.
    lines += [("Plan", line) for line in plan_lines(found.plan)]
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for name, value in lines:
        if value not in {None, ""}:
            table.add_row("" if name == before else name, styled(value))
            before = name
    console.print(f"Batch {found.id}", style="bold")
    console.print(table)


def _show_renditions(counts: Sequence[tuple[str, JobState, int]]) -> None:
    by_rendition: dict[str, dict[JobState, int]] = {}
    for rendition, state, jobs in counts:
        by_rendition.setdefault(rendition, {})[state] = jobs
    if not by_rendition:
        return
    print_table(
        "Renditions",
        (
            Column("Rendition", cut=True),
            Column.number("Jobs"),
            Column.number("Done"),
            Column.number("At Ittybit"),
            Column.number("Failed"),
            Column.number("Waiting"),
        ),
        [
            (
                rendition,
                sum(jobs.values()),
                jobs.get(JobState.SUCCEEDED, 0),
                sum(jobs.get(state, 0) for state in IN_FLIGHT_JOBS),
                sum(jobs.get(state, 0) for state in _ENDED_BADLY),
                jobs.get(JobState.PLANNED, 0),
            )
            for rendition, jobs in by_rendition.items()
        ],
    )


def _chosen(options: Mapping[str, Any]) -> str:
    """List the options that differ from their defaults, including changes by `tune`."""
    # Read as the model does: the ledger has one option under an old name.
    chosen = BatchOptions.model_validate(options).model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{name}: {value}" for name, value in sorted(chosen.items()))


def _local(time: datetime | None) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}" if time else ""
