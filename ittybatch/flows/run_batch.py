"""A batch: plan a source, release its chunks, suspend until they are done, report."""

from prefect import State, flow
from prefect.runtime import flow_run

from ittybatch.engine.options import BatchOptions
from ittybatch.engine.summary import BatchSummary
from ittybatch.errors import IttybatchError
from ittybatch.flows.parameters import DEFAULTS, AnySource, ApproveAbove, Options, ProfileName
from ittybatch.flows.process_chunk import process_chunk
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import OpenBatch, read_batch
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.legs import Ending, Leg
from ittybatch.ledger.queries import BatchStatus, batch_status
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings
from ittybatch.tasks.adopt import adopt
from ittybatch.tasks.approve import approve
from ittybatch.tasks.labels import batch_run_name, tag_outcome
from ittybatch.tasks.leg import LegInterrupted, at_work, in_place, leave, settings_and_ledger
from ittybatch.tasks.outcome import outcome, preview_outcome, superseded_outcome, unapproved_outcome
from ittybatch.tasks.release import release
from ittybatch.tasks.report import progress, report
from ittybatch.tasks.scan import look, scan
from ittybatch.tasks.step import ends_quietly
from ittybatch.tasks.wait import wait


@flow(name="run-batch", flow_run_name=batch_run_name, description=__doc__)
@ends_quietly
def run_batch(
    source: AnySource,
    profile: ProfileName = "web",
    approve_above_jobs: ApproveAbove = None,
    options: Options = DEFAULTS,
) -> State[BatchSummary]:
    """Run a batch, or one leg of it. Each leg reads the state from the ledger."""
    if approve_above_jobs is not None:
        options = options.model_copy(update={"approve_above_jobs": approve_above_jobs})
    with settings_and_ledger() as (settings, ledger):
        if options.dry_run:
            return preview_outcome(look(ledger, settings, source, profile, options))
        try:
            batch = adopt(ledger, settings, source, profile, options)
        except LedgerUnavailable as error:
            if options.go_on_with is None and flow_run.run_count <= 1:
                raise  # there is no batch yet that another run would continue
            raise LegInterrupted(error.message, remedy=error.remedy) from error
        with at_work(ledger, batch_owner(batch.id), settings.lease_s) as leg:
            return _work(ledger, settings, batch, leg) if leg else superseded_outcome()


def _work(ledger: Ledger, settings: Settings, batch: OpenBatch, leg: Leg) -> State[BatchSummary]:
    """Plan the batch, wait for its chunks, and report, until this run may end."""
    while True:
        batch = scan(ledger, settings, batch, leg)
        approved = approve(ledger, settings, batch, leg)
        if approved is None:
            end = unapproved_outcome(ledger.read(batch_status, batch.id))
        else:
            finished = _run_chunks(ledger, settings, batch, approved)
            if finished is None:
                return superseded_outcome()
            status, leg = finished
            report(ledger, settings, status)
            tag_outcome(status)
            end = outcome(status)
        match leave(ledger, settings, leg):
            case Ending.SUPERSEDED:
                return superseded_outcome()
            case Ending.ENDED | Ending.SUSPENDED:
                return end
            case Ending.GO_ON:
                # Someone resumed or approved the batch meanwhile, and relies on this run.
                batch = ledger.read(read_batch, batch.id)


def _run_chunks(
    ledger: Ledger, settings: Settings, batch: OpenBatch, leg: Leg
) -> tuple[BatchStatus, Leg] | None:
    """Release chunks and wait for them until all have ended, or the batch stops.

    A run that cannot suspend runs the chunks itself, one after the other.

    Returns:
        The batch's status and the current leg; None if another run has replaced this one.
    """
    stays = in_place()
    max_active = BatchOptions.model_validate(batch.options).max_active_chunks
    while True:
        released = release(ledger, settings, batch.id, max_active, in_place=stays)
        status = progress(ledger, batch.id)
        if status.state is not BatchState.RUNNING and not _still_billing(status):
            return status, leg
        for chunk in released:
            _run_here(chunk)
        if not released:
            next_leg = wait(ledger, settings, leg)
            if next_leg is None:
                return None
            leg = next_leg


def _run_here(chunk: int) -> None:
    """Run a chunk in this process.

    Raises:
        IttybatchError: The chunk's flow failed. It has logged the reason.
    """
    state = process_chunk(chunk, return_state=True)
    if not state.is_completed():
        raise IttybatchError(str(state.message))


def _still_billing(status: BatchStatus) -> bool:
    """Whether a cancelled batch still waits for the results of jobs at Ittybit."""
    return status.state is BatchState.CANCELLED and status.chunks_done < status.chunks
