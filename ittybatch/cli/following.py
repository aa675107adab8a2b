"""The command that follows a batch until it has ended."""

import time
from pathlib import Path
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ittybatch.cli.output import Json, console, print_json
from ittybatch.cli.output import errors as screen
from ittybatch.cli.status import COULD_NOT_RUN, INTERRUPTED, status_of
from ittybatch.engine import following
from ittybatch.engine.amounts import format_count, format_duration
from ittybatch.engine.flow_runs import FlowRuns, open_flow_runs
from ittybatch.engine.plan_counts import not_submitted
from ittybatch.engine.reports.entries import batch_summary
from ittybatch.engine.speed import Speed, speed_of
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.queries import BatchStatus, batch_status, find_batch
from ittybatch.ledger.runs import read_run
from ittybatch.ledger.states import BatchState, RunState
from ittybatch.settings import Settings

_CHECK_EVERY_S = 0.5
_MEASURE_EVERY_S = 3.0
_CHECKS_FOR_REPORT = 120
_ENDED = ("succeeded", "failed", "cancelled", "expired")


def follow(
    batch: Annotated[
        str, Parameter(help="Id of a batch or of its flow run, or `latest`: the newest batch.")
    ],
    *,
    json: Json = False,
) -> int:
    """Show a batch's progress until it has ended. Ctrl-C stops this command, not the batch.

    The exit status is the batch's: 0 all succeeded, 1 some failed, 3 it is held.
    """
    settings = Settings()
    ledger = open_ledger(settings)
    if _is_flow_run(batch):
        with open_flow_runs() as flow_runs:
            return follow_run(ledger, flow_runs, batch, home=settings.home, json=json)
    return _follow(ledger, ledger.read(find_batch, batch), home=settings.home, json=json)


def follow_run(
    ledger: Ledger, flow_runs: FlowRuns, flow_run: str, *, home: Path, json: bool
) -> int:
    """Show a flow run's batch until it has ended.

    Args:
        ledger: The ledger that has the batch.
        flow_runs: Access to flow runs in Prefect.
        flow_run: The flow run's id.
        home: Folder of reports, if the worker uses the same one.
        json: Whether to print the result as JSON.

    Returns:
        The exit status for the batch's final state.
    """
    # Progress goes to standard error, to keep standard output clean for programs.
    screen.print(f"Flow run {flow_run}: {flow_runs.url(flow_run)}")
    try:
        batch = await_batch(ledger, flow_runs, flow_run)
    except KeyboardInterrupt:
        _print_how_to_attach(flow_run)
        return INTERRUPTED
    if batch is None:
        return COULD_NOT_RUN
    return _follow(ledger, batch, home=home, json=json)


def await_batch(
    ledger: Ledger, flow_runs: FlowRuns, flow_run: str, *, within_s: float | None = None
) -> str | None:
    """Wait until a worker has created the batch of a flow run.

    Args:
        ledger: The ledger that will have the batch.
        flow_runs: Access to flow runs in Prefect.
        flow_run: The flow run's id.
        within_s: Seconds to wait; None to wait until the run has a batch or has ended.

    Returns:
        The batch's id; None if the run ended without a batch, or after `within_s`.
    """
    with screen.status("Waiting for a worker to begin the batch ..."):
        try:
            return following.await_batch(ledger, flow_runs, flow_run, within_s=within_s)
        except following.NoBatch as error:
            screen.print(str(error), markup=False)
            return None


def _follow(ledger: Ledger, batch: str, *, home: Path, json: bool) -> int:
    try:
        status = _show_progress(ledger, batch)
    except KeyboardInterrupt:
        _print_how_to_attach(batch)
        return INTERRUPTED
    if json:
        print_json({"batch": batch_summary(status), "counts": status.counts})
    else:
        _print_end(status, home)
    return status_of(status.state)


def _is_flow_run(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _print_how_to_attach(what: str) -> None:
    screen.print(
        f"\nThe batch continues without this command. Follow it again: ittybatch follow {what}"
    )


def _show_progress(ledger: Ledger, batch: str) -> BatchStatus:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    screen.print(f"Batch {batch}")
    with Progress(*columns, console=screen) as bar:
        line = bar.add_task("", total=None, said="")
        said_before = ""
        asked = False
        checked = 0
        speed = Speed(None, None)
        measured_at = 0.0
        while True:
            status = ledger.read(batch_status, batch)
            if time.monotonic() - measured_at >= _MEASURE_EVERY_S:
                measured_at = time.monotonic()
                speed = speed_of(ledger, status)
            counts = status.counts
            done = sum(counts[name] for name in _ENDED)
            said = _state_in_words(status)
            bar.update(
                line,
                description=status.state.value,
                total=counts["jobs"] or None,
                completed=done,
                said=", ".join(filter(None, (said, _speed_in_words(speed)))),
            )
            if not screen.is_terminal and said != said_before:
                screen.print(f"  {done}/{counts['jobs']} {status.state.value}, {said}")
                said_before = said
            if status.state is BatchState.UNAPPROVED and not asked:
                asked = True
                _print_approval(status)
            # A cancelled batch still waits for the jobs that it had sent.
            if status.state is BatchState.HELD:
                return status
            if status.state.ended and not counts["in_flight"]:
                if _reported(ledger, batch, checked):
                    return status
                checked += 1
            time.sleep(_CHECK_EVERY_S)


def _state_in_words(status: BatchStatus) -> str:
    said = f"{status.counts['in_flight']:,} at Ittybit"
    failed = status.counts["failed"]
    return f"{said}, {failed:,} failed" if failed else said


def _speed_in_words(speed: Speed) -> str:
    if not speed.per_minute or not speed.left_s:
        return ""
    return f"{speed.per_minute:,.0f}/min, {format_duration(speed.left_s)} left"


def _print_approval(status: BatchStatus) -> None:
    screen.print(f"It waits for approval: {status.reason}", markup=False)
    screen.print(
        f"Start it: ittybatch approve {status.id}. Cancel it: ittybatch cancel {status.id}."
    )


def _reported(ledger: Ledger, batch: str, checked: int) -> bool:
    """Whether the run has written its report. If it died while writing, stop waiting for it."""
    run = ledger.read(read_run, batch_owner(batch))
    return run is None or run.state is RunState.ENDED or checked >= _CHECKS_FOR_REPORT


def _print_end(status: BatchStatus, home: Path) -> None:
    counts = status.counts
    console.print(
        f"Batch {status.id}: {status.state.value}. {counts['succeeded']:,} of "
        f"{format_count(counts['jobs'], 'job')} succeeded, {counts['failed']:,} failed, "
        f"{counts['expired']:,} expired, {counts['cancelled']:,} cancelled; "
        f"{status.retried:,} took more than one attempt."
    )
    # Without this, a batch that had nothing to do would look like one that made all jobs.
    for count, why in not_submitted(status.plan):
        verb = "was" if count == 1 else "were"
        console.print(f"{format_count(count, 'job')} {verb} not submitted: {why}.")
    if rejected := status.plan.get("rejected", 0):
        rejects = home / "batches" / status.id / "rejects.csv"
        # A worker on another machine writes the file on that machine.
        where = rejects if rejects.exists() else "rejects.csv beside the batch's report"
        console.print(
            f"{format_count(rejected, 'row or item', 'rows and items')} could not be used; "
            f"why: {where}",
            markup=False,
        )
    if status.reason:
        console.print(status.reason, markup=False)
    if status.state is BatchState.HELD:
        console.print(f"Continue it: ittybatch resume {status.id}")
    elif counts["failed"] or counts["expired"]:
        console.print(f"Why: ittybatch failures {status.id}")
