"""Following a batch until it has ended."""

import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ittybatch.cli.output import console, print_json
from ittybatch.cli.status import COULD_NOT_RUN, status_of
from ittybatch.engine.amounts import format_count
from ittybatch.engine.flow_runs import FlowRuns
from ittybatch.engine.plan_counts import not_submitted
from ittybatch.engine.reports.entries import batch_summary
from ittybatch.ledger import Ledger
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.queries import BatchStatus, batch_of_run, batch_status
from ittybatch.ledger.runs import read_run
from ittybatch.ledger.states import BatchState, RunState

_LOOK_EVERY_S = 0.5
_ASK_PREFECT_EVERY_S = 3.0
_LOOKS_FOR_REPORT = 120
_ENDED = ("succeeded", "failed", "cancelled", "expired")


def follow_run(
    ledger: Ledger, flow_runs: FlowRuns, flow_run: str, *, home: Path, json: bool
) -> int:
    """Show a flow run's batch until it has ended.

    Args:
        ledger: Where the batch is.
        flow_runs: Prefect.
        flow_run: The flow run.
        home: Where reports lie, if the worker has the same.
        json: Whether its end is told as JSON.

    Returns:
        The exit status that its end comes to.
    """
    # Progress goes to standard error, so that what a program reads stays clean.
    screen = Console(stderr=True, highlight=False, soft_wrap=True)
    screen.print(f"Flow run: {flow_runs.url(flow_run)}")
    batch = _await_batch(ledger, flow_runs, flow_run, screen)
    if batch is None:
        return COULD_NOT_RUN
    status = _show_progress(ledger, batch, screen)
    if json:
        print_json({"batch": batch_summary(status), "counts": status.counts})
    else:
        _tell(status, home)
    return status_of(status.state)


def _await_batch(ledger: Ledger, flow_runs: FlowRuns, flow_run: str, screen: Console) -> str | None:
    """The batch of a run; None where the run ended before it had one."""
    with screen.status("Waiting for a worker to take it up ..."):
        asked_at = 0.0
        while True:
            if batch := ledger.read(batch_of_run, flow_run):
                return batch
            if time.monotonic() - asked_at >= _ASK_PREFECT_EVERY_S:
                asked_at = time.monotonic()
                found = flow_runs.statuses([flow_run]).get(flow_run)
                if found is None or found.ended:
                    why = found.message if found else "it was deleted"
                    screen.print(f"The flow run ended before it began a batch: {why}")
                    return None
            time.sleep(_LOOK_EVERY_S)


def _show_progress(ledger: Ledger, batch: str, screen: Console) -> BatchStatus:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen) as bar:
        line = bar.add_task(f"Batch {batch}", total=None, told="")
        told_at = ""
        asked = False
        looked = 0
        while True:
            status = ledger.read(batch_status, batch)
            counts = status.counts
            told = f"{status.state.value}, {counts['in_flight']:,} at Ittybit"
            if counts["failed"]:
                told += f", {counts['failed']:,} failed"
            bar.update(
                line,
                total=counts["jobs"] or None,
                completed=sum(counts[name] for name in _ENDED),
                told=told,
            )
            if not screen.is_terminal and told != told_at:
                screen.print(f"  {sum(counts[name] for name in _ENDED)}/{counts['jobs']} {told}")
                told_at = told
            if status.state is BatchState.UNAPPROVED and not asked:
                asked = True
                _tell_asks(status, screen)
            # A cancelled batch still waits for what it had sent.
            if status.state is BatchState.HELD:
                return status
            if status.state.ended and not counts["in_flight"]:
                if _reported(ledger, batch, looked):
                    return status
                looked += 1
            time.sleep(_LOOK_EVERY_S)


def _tell_asks(status: BatchStatus, screen: Console) -> None:
    screen.print(f"It waits to be approved: {status.reason}", markup=False)
    screen.print(
        f"Begin it: ittybatch approve {status.id}. Give it up: ittybatch cancel {status.id}."
    )


def _reported(ledger: Ledger, batch: str, looked: int) -> bool:
    """Whether the run has written its report; one that dies over it is not waited for."""
    run = ledger.read(read_run, batch_owner(batch))
    return run is None or run.state is RunState.ENDED or looked >= _LOOKS_FOR_REPORT


def _tell(status: BatchStatus, home: Path) -> None:
    counts = status.counts
    console.print(
        f"Batch {status.id}: {status.state.value}. {counts['succeeded']:,} of "
        f"{format_count(counts['jobs'], 'job')} succeeded, {counts['failed']:,} failed, "
        f"{counts['expired']:,} expired, {counts['cancelled']:,} cancelled; "
        f"{status.retried:,} took more than one attempt."
    )
    # Without these a batch that had nothing to do would look like one that did it all.
    for count, why in not_submitted(status.plan):
        console.print(f"{count:,} jobs were not submitted: {why}.")
    if rejected := status.plan.get("rejected", 0):
        rejects = home / "batches" / status.id / "rejects.csv"
        # A worker on another machine writes it there.
        where = rejects if rejects.exists() else "rejects.csv beside the batch's report"
        console.print(
            f"{format_count(rejected, 'row or item', 'rows and items')} could not be used; "
            f"why: {where}",
            markup=False,
        )
    if status.reason:
        console.print(status.reason, markup=False)
    if status.state is BatchState.HELD:
        console.print(f"Go on with: ittybatch resume {status.id}")
    elif counts["failed"] or counts["expired"]:
        console.print(f"Why: ittybatch failures {status.id}")
