"""Commands that look at batches."""

import sys
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import orjson
from cyclopts import Parameter

from ittybatch.cli.output import Batch, Json, console, print_json, print_table
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.amounts import format_bytes, format_duration
from ittybatch.engine.reporting import (
    FAILED_STATES,
    batch_summary,
    job_entry,
    write_csv,
    write_json,
    write_parquet,
)
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.queries import (
    BatchStatus,
    all_job_rows,
    batch_status,
    failure_reasons,
    find_batch,
    recent_batches,
)
from ittybatch.ledger.states import JobState
from ittybatch.settings import Settings


class ReportFormat(StrEnum):
    """What a report is written as."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def status(
    batch: Annotated[
        str | None, Parameter(help="Id of a batch, or `latest`; without it, the newest ones.")
    ] = None,
    *,
    limit: Annotated[int, Parameter(help="How many of the newest batches.")] = 20,
    json: Json = False,
) -> int:
    """Show the newest batches, or one in full."""
    ledger = open_ledger(Settings())
    if batch is not None:
        _show_one(ledger.read(batch_status, ledger.read(find_batch, batch)), json=json)
        return SUCCEEDED
    batches = ledger.read(recent_batches, limit)
    if json:
        print_json([{**batch_summary(each), "counts": each.counts} for each in batches])
        return SUCCEEDED
    print_table(
        "Batches",
        ("Batch", "Name", "State", "Jobs>", "Done>", "At Ittybit>", "Failed>", "Started"),
        [
            (
                each.id,
                each.name,
                each.state.value,
                each.counts["jobs"],
                each.counts["succeeded"],
                each.counts["in_flight"],
                each.counts["failed"] + each.counts["expired"],
                _local(each.created_at),
            )
            for each in batches
        ],
    )
    return SUCCEEDED


def jobs(
    batch: Batch,
    *,
    state: Annotated[
        list[JobState] | None,
        Parameter(negative="", help="Only jobs in this state. May be repeated."),
    ] = None,
    limit: Annotated[int, Parameter(help="At most so many.")] = 100,
    json: Json = False,
) -> int:
    """List a batch's jobs in the order they were planned."""
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch)
    rows = list(islice(all_job_rows(ledger, found, states=state or ()), limit))
    if json:
        print_json([{**job_entry(row), "destination": row.destination} for row in rows])
        return SUCCEEDED
    print_table(
        f"Jobs of batch {found}",
        ("Input", "Rendition", "State", "Attempts>", "Pixels", "Length>", "Size>", "Output"),
        [
            (
                row.input,
                row.rendition,
                row.state.value,
                row.attempts,
                f"{row.width}x{row.height}" if row.width else "",
                format_duration(row.duration_s),
                format_bytes(row.size_bytes),
                row.output_url or row.error_message,
            )
            for row in rows
        ],
    )
    return SUCCEEDED


def failures(
    batch: Batch,
    *,
    limit: Annotated[int, Parameter(help="At most so many jobs.")] = 50,
    json: Json = False,
) -> int:
    """Show why jobs of a batch failed, the most frequent reason first."""
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch)
    reasons = ledger.read(failure_reasons, found)
    rows = list(islice(all_job_rows(ledger, found, states=FAILED_STATES), limit))
    if json:
        print_json({"reasons": reasons, "jobs": [job_entry(row) for row in rows]})
        return SUCCEEDED
    if not reasons:
        console.print(f"No job of batch {found} has failed.")
        return SUCCEEDED
    print_table(
        f"Why jobs of batch {found} failed",
        ("Jobs>", "State", "Kind", "Reason"),
        [
            (each["jobs"], each["state"], each["error_kind"], each["error_message"])
            for each in reasons
        ],
    )
    print_table(
        "Failed jobs",
        ("Input", "Rendition", "State", "Attempts>", "Reason"),
        [
            (row.input, row.rendition, row.state.value, row.attempts, row.error_message)
            for row in rows
        ],
    )
    console.print(f"Once more: ittybatch retry {found}")
    return SUCCEEDED


def report(
    batch: Batch,
    *,
    format: Annotated[ReportFormat, Parameter(help="csv, json or parquet.")] = ReportFormat.JSON,  # noqa: A002  the option's name
    output: Annotated[
        Path | None, Parameter(alias="-o", help="The file to write; standard output if not given.")
    ] = None,
    only_failures: Annotated[
        bool, Parameter(negative="", help="Only jobs that did not succeed.")
    ] = False,
) -> int:
    """Write a batch's completion report."""
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch)
    if output is None and format is ReportFormat.PARQUET:
        output = Path(f"{found}.parquet")
    if output is None:
        _write(ledger, found, format, sys.stdout.buffer.fileno(), only_failures=only_failures)
        return SUCCEEDED
    _write(ledger, found, format, output, only_failures=only_failures)
    console.print(f"Wrote {output}.")
    return SUCCEEDED


def _write(
    ledger: Ledger, batch: str, form: ReportFormat, target: Path | int, *, only_failures: bool
) -> None:
    # A descriptor is standard output: it is not ours to close.
    ours = not isinstance(target, int)
    if form is ReportFormat.CSV:
        with open(target, "w", encoding="utf-8", newline="", closefd=ours) as rows:
            write_csv(ledger, batch, rows, only_failures=only_failures)
        return
    with open(target, "wb", closefd=ours) as stream:
        if form is ReportFormat.JSON:
            write_json(ledger, batch, stream, only_failures=only_failures)
        else:
            write_parquet(ledger, batch, stream, only_failures=only_failures)


def _show_one(found: BatchStatus, *, json: bool) -> None:
    if json:
        print_json({**asdict(found), "state": found.state.value})
        return
    lines: list[tuple[object, object]] = [
        ("Batch", found.id),
        ("Name", found.name),
        ("State", found.state.value),
        ("Profile", found.profile),
        ("Source", orjson.dumps(found.source).decode()),
        ("Started", _local(found.created_at)),
        ("Ended", _local(found.ended_at)),
        ("Flow run", found.flow_run_id),
        ("Chunks done", f"{found.chunks_done} of {found.chunks}"),
        ("Took more than one attempt", found.retried),
    ]
    if found.reason:
        lines.append(("Reason", found.reason))
    lines += [(name.title().replace("_", " "), count) for name, count in found.counts.items()]
    lines += [(f"Plan: {name}", count) for name, count in sorted(found.plan.items())]
    print_table(f"Batch {found.id}", ("", ""), lines)


def _local(time: datetime | None) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}" if time else ""
