"""Commands that list a batch's jobs and the reasons of failures."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

from cyclopts import Parameter

from ittybatch.cli.output import (
    Batch,
    Column,
    Json,
    Limit,
    Wide,
    common_folder,
    console,
    print_json,
    print_table,
)
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.advice import advise, outlook
from ittybatch.engine.amounts import format_bytes, format_duration
from ittybatch.engine.lookalikes import describe_lookalikes
from ittybatch.engine.reports.entries import FAILED_STATES, job_entry
from ittybatch.ledger import open_ledger
from ittybatch.ledger.queries import find_batch
from ittybatch.ledger.results import JobFilter, JobRow, all_job_rows, failure_reasons
from ittybatch.ledger.states import JobState
from ittybatch.settings import Settings

Rendition = Annotated[str | None, Parameter(help="Only jobs of this rendition.")]
Input = Annotated[
    str | None, Parameter(name="--input", help="Only items whose URI contains this text.")
]


def jobs(
    batch: Batch,
    *,
    state: Annotated[
        list[JobState] | None,
        Parameter(negative="", help="Only jobs in this state. May be repeated."),
    ] = None,
    rendition: Rendition = None,
    input_contains: Input = None,
    limit: Annotated[Limit, Parameter(help="Maximum number of jobs to list.")] = 100,
    wide: Wide = False,
    json: Json = False,
) -> int:
    """List a batch's jobs."""
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch)
    only = JobFilter(rendition, input_contains)
    rows = list(islice(all_job_rows(ledger, found, states=state or (), only=only), limit))
    if json:
        print_json([{**job_entry(row), "destination": row.destination} for row in rows])
        return SUCCEEDED
    folder = common_folder([row.input for row in rows], wide=wide)
    print_table(
        _titled(f"Jobs of batch {found}", folder),
        (
            Column("Input", cut=True),
            "Rendition",
            "State",
            Column("Attempts", right=True, from_width=100),
            Column("Pixels", from_width=100),
            Column.number("Length"),
            Column.number("Size"),
            Column("Output or error", cut=True, from_width=120),
        ),
        [
            (
                row.input.removeprefix(folder),
                row.rendition,
                row.state,
                row.attempts,
                f"{row.width}x{row.height}" if row.width else "",
                format_duration(row.duration_s),
                format_bytes(row.size_bytes),
                row.output_url or row.error_message,
            )
            for row in rows
        ],
        wide=wide,
    )
    return SUCCEEDED


def failures(
    batch: Batch,
    *,
    state: Annotated[
        list[JobState] | None,
        Parameter(negative="", help="Only failed, expired or cancelled jobs. May be repeated."),
    ] = None,
    rendition: Rendition = None,
    input_contains: Input = None,
    limit: Annotated[Limit, Parameter(help="Maximum number of jobs to list.")] = 50,
    wide: Wide = False,
    json: Json = False,
) -> int:
    """Show why jobs of a batch failed, the most frequent reason first."""
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch)
    only = JobFilter(rendition, input_contains)
    reasons = ledger.read(failure_reasons, found, only=only)
    if state:
        reasons = [each for each in reasons if each["state"] in state]
    rows = list(
        islice(all_job_rows(ledger, found, states=state or FAILED_STATES, only=only), limit)
    )
    advice = [*advise(found, reasons), *describe_lookalikes(ledger, found)]
    if json:
        print_json(
            {
                "reasons": [{**each, "outlook": outlook(each).value} for each in reasons],
                "advice": advice,
                "jobs": [job_entry(row) for row in rows],
            }
        )
        return SUCCEEDED
    if not reasons:
        narrowed = state or rendition or input_contains
        fits = " and fits the options" if narrowed else ""
        console.print(f"No job of batch {found} has failed{fits}.")
        return SUCCEEDED
    _show_failures(found, reasons, rows, wide=wide)
    for each in advice:
        console.print(each, markup=False)
    return SUCCEEDED


def _show_failures(
    batch: str, reasons: Sequence[Mapping[str, Any]], rows: Sequence[JobRow], *, wide: bool
) -> None:
    print_table(
        f"Why jobs of batch {batch} failed",
        (
            Column.number("Jobs"),
            "State",
            "Again?",
            Column("Kind", from_width=100),
            Column("Reason", prose=True),
        ),
        [
            (
                each["jobs"],
                JobState(each["state"]),
                outlook(each).value,
                each["error_kind"],
                each["error_message"],
            )
            for each in reasons
        ],
        wide=wide,
    )
    folder = common_folder([row.input for row in rows], wide=wide)
    print_table(
        _titled("Failed jobs", folder),
        (
            Column("Input", cut=True),
            "Rendition",
            "State",
            Column("Attempts", right=True, from_width=100),
            Column("Reason", cut=True),
        ),
        [
            (
                row.input.removeprefix(folder),
                row.rendition,
                row.state,
                row.attempts,
                row.error_message,
            )
            for row in rows
        ],
        wide=wide,
    )


def _titled(title: str, folder: str) -> str:
    return f"{title}, inputs in {folder}" if folder else title
