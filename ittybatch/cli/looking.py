"""Commands that look at batches."""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import orjson
from cyclopts import Parameter
from rich.console import Console

from ittybatch.cli.output import Batch, Json, Limit, console, errors, print_json, print_table
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.advice import advise, outlook
from ittybatch.engine.amounts import format_bytes, format_duration
from ittybatch.engine.lookalikes import describe_lookalikes
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.reporting import Written, report_output, table_output, write_report
from ittybatch.engine.reports.entries import FAILED_STATES, batch_summary, job_entry
from ittybatch.engine.reports.forms import ReportFormat, form_of
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
from ittybatch.ledger.results import all_job_rows, failure_reasons
from ittybatch.ledger.states import JobState
from ittybatch.settings import Settings


def status(
    batch: Annotated[
        str | None, Parameter(help="Id of a batch, or `latest`; without it, the newest ones.")
    ] = None,
    *,
    limit: Annotated[Limit, Parameter(help="How many of the newest batches.")] = 20,
    every: Annotated[
        bool, Parameter(name="--all", negative="", help="Also scans that found nothing to do.")
    ] = False,
    json: Json = False,
) -> int:
    """Show the newest batches, or one in full."""
    ledger = open_ledger(Settings())
    if batch is not None:
        found = ledger.read(batch_status, ledger.read(find_batch, batch))
        problems = ledger.read(problems_of, found.id)
        _show_one(found, speed_of(ledger, found), problems, json=json)
        return SUCCEEDED
    batches = ledger.read(recent_batches, limit, idle=every)
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
    if not every and (idle := ledger.read(idle_batches)):
        scans = "1 scan" if idle == 1 else f"{idle:,} scans"
        console.print(f"{scans} found nothing to do; `ittybatch status --all` shows all batches.")
    return SUCCEEDED


def jobs(
    batch: Batch,
    *,
    state: Annotated[
        list[JobState] | None,
        Parameter(negative="", help="Only jobs in this state. May be repeated."),
    ] = None,
    limit: Annotated[Limit, Parameter(help="At most so many.")] = 100,
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
    limit: Annotated[Limit, Parameter(help="At most so many jobs.")] = 50,
    json: Json = False,
) -> int:
    """Show why jobs of a batch failed, the most frequent reason first."""
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch)
    reasons = ledger.read(failure_reasons, found)
    rows = list(islice(all_job_rows(ledger, found, states=FAILED_STATES), limit))
    if json:
        told = [{**each, "outlook": outlook(each).value} for each in reasons]
        print_json(
            {
                "reasons": told,
                "advice": [*advise(found, reasons), *describe_lookalikes(ledger, found)],
                "jobs": [job_entry(row) for row in rows],
            }
        )
        return SUCCEEDED
    if not reasons:
        console.print(f"No job of batch {found} has failed.")
        return SUCCEEDED
    print_table(
        f"Why jobs of batch {found} failed",
        ("Jobs>", "State", "Again?", "Kind", "Reason"),
        [
            (
                each["jobs"],
                each["state"],
                outlook(each).value,
                each["error_kind"],
                each["error_message"],
            )
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
    for advice in (*advise(found, reasons), *describe_lookalikes(ledger, found)):
        console.print(advice, markup=False)
    return SUCCEEDED


def report(
    batch: Batch,
    *,
    format: Annotated[  # noqa: A002  the option's name
        ReportFormat | None,
        Parameter(
            help="csv, json, parquet or html; without it what the output's name ends in, else json."
        ),
    ] = None,
    output: Annotated[
        str | None,
        Parameter(
            alias="-o",
            help="A path or s3://bucket/key to write to; standard output if not given.",
        ),
    ] = None,
    only_failures: Annotated[
        bool, Parameter(negative="", help="Only jobs that did not succeed.")
    ] = False,
    check_outputs: Annotated[
        bool,
        Parameter(
            negative="", help="Look whether each output is there, of its size and format, first."
        ),
    ] = False,
    dynamodb: Annotated[
        str | None,
        Parameter(help="Write jobs to this DynamoDB table, too; alone without `--output`."),
    ] = None,
) -> int:
    """Write a batch's completion report."""
    form = form_of(output, format)
    settings = Settings()
    ledger = open_ledger(settings)
    found = ledger.read(find_batch, batch)
    outputs = [table_output(dynamodb, found)] if dynamodb else []
    if output is None and form is ReportFormat.PARQUET:
        output = f"{found}.parquet"
    printed = output is None and (format is not None or not dynamodb)
    if output is not None or printed:
        place = sys.stdout.buffer if output is None else output
        outputs.append(report_output(ledger, found, form, place, only_failures=only_failures))
    written = write_report(ledger, found, outputs, check_outputs=check_outputs, settings=settings)
    sys.stdout.buffer.flush()
    # What is piped stays the report alone.
    _tell(written, output, dynamodb, to=errors if printed else console)
    return SUCCEEDED


def _tell(written: Written, output: str | None, table: str | None, *, to: Console) -> None:
    if output:
        to.print(f"Wrote {output}.", markup=False)
    if table:
        to.print(f"Wrote the jobs to the DynamoDB table {table}.", markup=False)
    if written.tally.checks:
        counts = ", ".join(f"{count:,} {check}" for check, count in written.tally.checks.items())
        to.print(f"Outputs looked at: {counts}.", markup=False)


def _show_one(found: BatchStatus, speed: Speed, problems: Problems | None, *, json: bool) -> None:
    if json:
        told = {
            "state": found.state.value,
            "per_minute": speed.per_minute,
            "left_s": speed.left_s,
            "problems": asdict(problems) if problems else None,
        }
        print_json({**asdict(found), **told})
        return
    lines: list[tuple[object, object]] = [
        ("Batch", found.id),
        ("Name", found.name),
        ("State", found.state.value),
        ("Profile", found.profile),
        ("Source", orjson.dumps(found.source).decode()),
        ("Runs with", _chosen(found.options)),
        ("Started", _local(found.created_at)),
        ("Ended", _local(found.ended_at)),
        ("Flow run", found.flow_run_id),
        ("Chunks done", f"{found.chunks_done:,} of {found.chunks:,}"),
        ("Took more than one attempt", f"{found.retried:,}"),
    ]
    if found.tidied_at is not None:
        gone = "webhooks' bodies, polled answers and rejected rows were removed"
        lines.append(("Tidied", f"{_local(found.tidied_at)}: {gone}"))
    if not found.state.ended:
        lines.append(("Speed", speed.told()))
    if found.waits_for_room:
        lines.append(("Next chunk", "waits for room under ITTYBATCH_MAX_IN_FLIGHT"))
    if found.reason:
        lines.append(("Reason", found.reason))
    if problems:
        lines.append(("Waiting", problems.describe()))
    lines += [
        (name.title().replace("_", " "), f"{count:,}") for name, count in found.counts.items()
    ]
    lines += [(f"Plan: {name}", f"{count:,}") for name, count in sorted(found.plan.items())]
    print_table(f"Batch {found.id}", ("", ""), lines)


def _chosen(options: Mapping[str, Any]) -> str:
    """The options that are not as they are by default; a batch may have been tuned since."""
    usual = BatchOptions().model_dump(mode="json")
    chosen = {name: value for name, value in options.items() if value != usual.get(name)}
    return ", ".join(f"{name}: {value}" for name, value in sorted(chosen.items()))


def _local(time: datetime | None) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}" if time else ""
