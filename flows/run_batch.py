"""A batch: plan a source, release its chunks, sleep until they are done, report.

from flows.run_batch import run_batch
from ittybatch.sources import BucketSource

run_batch(BucketSource(uri="s3://media/uploads/"), profile="web")
"""

from prefect import State, flow
from prefect.states import Completed

from flows.parameters import DEFAULTS, AnySource, Options, ProfileName
from flows.process_chunk import process_chunk
from ittybatch.engine.options import BatchOptions
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import OpenBatch, read_batch
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.legs import Leg
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings
from tasks.adopt import adopt
from tasks.approve import approve
from tasks.leg import at_work, leave, open_books, this_run
from tasks.naming import batch_run_name
from tasks.outcome import outcome, preview_outcome, unapproved_outcome
from tasks.release import release
from tasks.report import progress, report
from tasks.scan import look, scan
from tasks.wait import wait


@flow(name="run-batch", flow_run_name=batch_run_name, description=__doc__)
def run_batch(
    source: AnySource, profile: ProfileName = "web", options: Options = DEFAULTS
) -> State[None]:
    """Run one batch, or one leg of it: everything begins by reading the ledger."""
    with open_books() as (settings, ledger):
        if options.dry_run:
            return preview_outcome(look(ledger, settings, source, profile, options))
        batch = adopt(ledger, settings, source, profile, options)
        with at_work(ledger, batch_owner(batch.id), settings.lease_s) as leg:
            if leg is None:
                return _superseded()
            while True:
                batch = scan(ledger, settings, batch, leg)
                if approve(ledger, settings, batch, leg):
                    status = _see_through(ledger, settings, batch, leg)
                    if status is None:
                        return _superseded()
                    report(ledger, settings, status)
                    end = outcome(status)
                else:
                    end = unapproved_outcome(batch)
                if leave(ledger, settings, leg):
                    return end
                # Somebody has resumed or approved it just now, and relies on this run.
                batch = ledger.read(read_batch, batch.id)


def _superseded() -> State[None]:
    return Completed(name="Superseded", message="Another run goes on with it.")


def _see_through(
    ledger: Ledger, settings: Settings, batch: OpenBatch, leg: Leg
) -> BatchStatus | None:
    """Release chunks and wait for them, until nothing is left to wait for.

    Returns:
        How the batch stands then, or None where another run has taken this one's place.
    """
    in_place = this_run()[1] is None
    max_active = BatchOptions.model_validate(batch.options).max_active_chunks
    while True:
        released = release(ledger, settings, batch.id, max_active, in_place=in_place)
        status = progress(ledger, batch.id)
        if status.state is not BatchState.RUNNING and not _still_billing(status):
            return status
        if not in_place and wait(ledger, settings, leg) is None:
            return None
        for chunk in released:
            process_chunk(chunk)


def _still_billing(status: BatchStatus) -> bool:
    """Whether a cancelled batch still waits to hear what became of the jobs it had sent."""
    return status.state is BatchState.CANCELLED and status.chunks_done < status.chunks
