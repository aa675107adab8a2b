"""Report: publish progress and results of a batch as artifacts and files."""

from itertools import islice

from prefect.logging import get_run_logger

from ittybatch.engine.lookalikes import describe_lookalikes
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.reporting import write_files
from ittybatch.engine.reports.places import folder_of
from ittybatch.engine.speed import speed_of
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import end_batch
from ittybatch.ledger.queries import BatchStatus, batch_status
from ittybatch.ledger.results import all_job_rows, failure_reasons, options_of
from ittybatch.settings import Settings
from ittybatch.tasks.artifacts import (
    MOST_ROWS,
    progress_of,
    show_failures,
    show_progress,
    show_report,
    show_results,
)
from ittybatch.tasks.outcome import summary_of
from ittybatch.tasks.step import step


@step("progress")
def progress(ledger: Ledger, batch: str) -> BatchStatus:
    """End the batch if everything in it has ended, and publish its progress."""
    ledger.write(end_batch, batch)
    status = ledger.read(batch_status, batch)
    text = progress_of(status)
    if not status.state.ended:
        text += f"; {speed_of(ledger, status).describe()}"
    if status.waits_for_room:
        text += "; the next chunk waits for the limit of jobs in flight"
    show_progress(status, text)
    get_run_logger().info("Batch %s: %s.", batch, text)
    return status


@step("report")
def report(ledger: Ledger, settings: Settings, status: BatchStatus) -> None:
    """Write the completion report, and publish its main parts as artifacts."""
    options = BatchOptions.model_validate(ledger.read(options_of, status.id))
    written = write_files(
        ledger,
        status.id,
        folder_of(settings.home, status.id),
        copies_to=options.report_to or settings.report_to,
        only_failures=options.report_only_failures,
        check_outputs=options.check_outputs,
        settings=settings,
    )
    for warning in (*written.failures, *describe_lookalikes(ledger, status.id)):
        get_run_logger().warning("%s", warning)
    show_results(status, list(islice(all_job_rows(ledger, status.id), MOST_ROWS)))
    show_failures(status, ledger.read(failure_reasons, status.id))
    show_report(status, summary_of(status), written)
    get_run_logger().info("Report: %s", written.places["json"])
