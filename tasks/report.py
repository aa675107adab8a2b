"""Report: what a batch came to, as files, artifacts and the state of its flow run."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice

from prefect import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from ittybatch.engine.options import BatchOptions
from ittybatch.engine.planning import Preview
from ittybatch.engine.reporting import write_files
from ittybatch.engine.speed import speed_of
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import OpenBatch, end_batch
from ittybatch.ledger.chunks import ChunkPlace
from ittybatch.ledger.queries import BatchStatus, all_job_rows, batch_status, failure_reasons
from ittybatch.ledger.results import options_of
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings
from tasks.artifacts import (
    MOST_ROWS,
    progress_of,
    show_failures,
    show_progress,
    show_report,
    show_results,
)
from tasks.step import step

_NOT_NEW = (
    ("already_done", "done before"),
    ("in_flight_elsewhere", "in flight in another batch"),
    ("held_back", "held back: failed for good, or given up"),
)
_BAD = ("failed", "expired", "cancelled")


@step("progress")
def progress(ledger: Ledger, batch: str) -> BatchStatus:
    """Publish how far the batch is, and end it if everything in it has ended."""
    ledger.write(end_batch, batch)
    status = ledger.read(batch_status, batch)
    told = progress_of(status)
    if not status.state.ended:
        told += f"; {speed_of(ledger, status).told()}"
    if status.waits_for_room:
        told += "; the next chunk waits for room"
    show_progress(status, told)
    get_run_logger().info("Batch %s: %s.", batch, told)
    return status


@step("report")
def report(ledger: Ledger, settings: Settings, status: BatchStatus) -> None:
    """Write the completion report, and publish what an operator wants to see of it."""
    options = BatchOptions.model_validate(ledger.read(options_of, status.id))
    written = write_files(
        ledger,
        status.id,
        settings.home / "batches" / status.id,
        copies_to=options.report_to,
        only_failures=options.report_only_failures,
        check_outputs=options.check_outputs,
        dynamodb_table=settings.dynamodb_table,
    )
    for failure in written.failures:
        get_run_logger().warning("%s", failure)
    show_results(status, list(islice(all_job_rows(ledger, status.id), MOST_ROWS)))
    show_failures(status, ledger.read(failure_reasons, status.id))
    show_report(status, _told(status), written)
    get_run_logger().info("Report: %s", written.places["json"])


def outcome(status: BatchStatus) -> State[None]:
    """The state that tells all-succeeded from some-failed."""
    told = f"{_told(status)}."
    match status.state:
        case BatchState.SUCCEEDED:
            return Completed(message=told)
        case BatchState.CANCELLED:
            return Cancelled(message=f"{status.reason or 'Cancelled.'} {told}")
        case BatchState.HELD:
            return Failed(
                name="Held",
                message=f"{status.reason} Then: `ittybatch resume {status.id}`. {told}",
            )
        case _:
            return Failed(
                name="SomeFailed",
                message=f"{told} Why: `ittybatch failures {status.id}`. "
                f"Again: `ittybatch retry {status.id}`.",
            )


def preview_outcome(found: Preview) -> State[None]:
    """The state of a dry run."""
    return Completed(
        name="DryRun",
        message=f"{found.counts['jobs']:,} jobs of {found.counts['items']:,} items would be "
        f"submitted: {_found(found.counts)}.",
    )


def unapproved_outcome(batch: OpenBatch) -> State[None]:
    """The state of a run that nobody can answer in place."""
    return Completed(
        name="Unapproved",
        message=f"{batch.reason} `ittybatch approve {batch.id}` begins it through Prefect.",
    )


def chunk_outcome(place: ChunkPlace) -> State[None]:
    """The state of a chunk's run. A chunk has done its work even where jobs failed."""
    bad = place.failed + place.expired + place.cancelled
    return Completed(
        name="SomeFailed" if bad else "Completed",
        message=_and_bad(f"{place.succeeded:,} jobs succeeded", asdict(place)) + ".",
    )


def _told(status: BatchStatus) -> str:
    counts = status.counts
    if not counts["jobs"]:
        return f"There was nothing new to do: {_found(status.plan)}"
    return _and_bad(f"{counts['succeeded']:,} of {counts['jobs']:,} jobs succeeded", counts)


def _found(plan: Mapping[str, int]) -> str:
    told = [f"{plan.get('found', 0):,} items found"]
    if left_out := sum(count for name, count in plan.items() if name.startswith("filtered:")):
        told.append(f"{left_out:,} left out by the filters")
    told += [f"{count:,} jobs {how}" for name, how in _NOT_NEW if (count := plan.get(name))]
    return ", ".join(told)


def _and_bad(told: str, counts: Mapping[str, int]) -> str:
    return ", ".join([told, *(f"{counts[name]:,} {name}" for name in _BAD if counts[name])])
