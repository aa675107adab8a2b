"""Commands about jobs that are held back."""

from typing import Annotated

from cyclopts import App, Parameter

from ittybatch.cli.output import (
    Column,
    Json,
    Limit,
    Wide,
    common_folder,
    console,
    print_json,
    print_table,
)
from ittybatch.cli.recording import operator
from ittybatch.cli.status import SUCCEEDED, USAGE
from ittybatch.engine.amounts import format_count
from ittybatch.engine.recording import recorded
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger import quarantine as held
from ittybatch.ledger.queries import find_batch
from ittybatch.settings import Settings

app = App(name="quarantine", help="Jobs that are held back until you release them.")

OfBatch = Annotated[
    str | None, Parameter(name="--batch", help="Only jobs of this batch, or `latest`.")
]
OfInput = Annotated[
    str | None, Parameter(name="--input", help="Only items whose URI begins with this text.")
]


@app.command(name="list")
def list_held(
    *,
    batch: OfBatch = None,
    input_prefix: OfInput = None,
    limit: Annotated[Limit, Parameter(help="Maximum number of jobs to list.")] = 100,
    wide: Wide = False,
    json: Json = False,
) -> int:
    """List jobs that are held back, and why: a final failure, or no result in time."""
    ledger = open_ledger(Settings())
    jobs = ledger.read(
        held.held_jobs, batch=_found(ledger, batch), input_prefix=input_prefix, limit=limit
    )
    if json:
        print_json(jobs)
        return SUCCEEDED
    folder = common_folder([job.input for job in jobs], wide=wide)
    print_table(
        f"Held back, inputs in {folder}" if folder else "Held back",
        (
            Column("Input", cut=True),
            "Rendition",
            "State",
            Column("Batch", from_width=100),
            Column("Reason", cut=True),
        ),
        [
            (
                job.input.removeprefix(folder),
                job.rendition,
                job.state,
                job.batch_id,
                job.error_message,
            )
            for job in jobs
        ],
        wide=wide,
    )
    console.print("`ittybatch quarantine release` lets the next batch make them again.")
    return SUCCEEDED


@app.command
def release(
    *,
    batch: OfBatch = None,
    input_prefix: OfInput = None,
    all: Annotated[  # noqa: A002  the option's name
        bool, Parameter(negative="", help="Release all jobs that are held back.")
    ] = False,
    json: Json = False,
) -> int:
    """Release held jobs: the next batch that finds their items submits and pays for them again."""
    if not (batch or input_prefix or all):
        console.print("Say what to release: --batch, --input or --all.")
        return USAGE
    ledger = open_ledger(Settings())
    found = _found(ledger, batch)
    details = {"input": input_prefix} if input_prefix else {}
    with recorded(ledger, operator(), "release", batch=found, details=details) as record:
        count = held.release(ledger, batch=found, input_prefix=input_prefix)
        record.outcome = f"Released {format_count(count, 'job')}."
    if json:
        print_json({"released": count})
    else:
        console.print(record.outcome)
    return SUCCEEDED


def _found(ledger: Ledger, batch: str | None) -> str | None:
    return ledger.read(find_batch, batch) if batch else None
