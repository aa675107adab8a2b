"""Save a plan: plan a batch completely, and start it only when someone approves it."""

from collections.abc import Callable, Mapping

from ittybatch.engine.heartbeat import heartbeat
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.planning import plan_batch
from ittybatch.engine.scope import settle
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import OpenBatch, open_batch
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.legs import Ending, Leg, begin_leg, end_run
from ittybatch.ledger.runs import hand_over
from ittybatch.ledger.stopping import hold_and_end
from ittybatch.ledger.sweep import sweep
from ittybatch.settings import Settings
from ittybatch.sources import Source

_REASON = "Its plan was saved for later."


def save_plan(
    ledger: Ledger,
    settings: Settings,
    source: Source,
    profile: str,
    options: BatchOptions,
    *,
    on_page: Callable[[Mapping[str, int]], None] = lambda _: None,
) -> OpenBatch:
    """Plan a batch completely, and leave it waiting for approval.

    Once approved, it submits exactly what it planned, except for jobs that another batch has taken
    over: a plan that may never start must not block other batches.

    Args:
        ledger: The ledger to write the plan to.
        settings: Supplies the folder of profiles and the lease of a leg.
        source: The source to read.
        profile: Name or path of the profile.
        options: The options of the batch.
        on_page: Called with the counts after each page.

    Raises:
        SourceError: The source cannot be read.
        ProfileError: The profile is missing or invalid.
    """
    # If the process of an earlier plan was killed while saving, release the jobs of that plan.
    sweep(ledger, settings.lease_s)
    settled, chosen = settle(ledger, source, profile, settings.profiles_dir)
    batch = ledger.write(
        open_batch,
        flow_run_id=None,
        deployment_id=None,
        name=options.name or chosen.name,
        source=settled.model_dump(mode="json", exclude_none=True),
        profile=chosen.model_dump(mode="json"),
        options=options.to_store(),
        # Whoever finishes this plan, after an interruption and a resume, must not start the batch.
        why_ask=_REASON,
    )
    leg = ledger.write(begin_leg, batch_owner(batch.id), None)
    if leg is None:
        raise AssertionError("unreachable: no other process knows this batch")
    try:
        with heartbeat(ledger, leg, settings.lease_s):
            planned = plan_batch(
                ledger,
                batch,
                settled,
                settings.profiles_dir,
                chunk_size=options.chunk_size,
                canary_items=options.canary_items,
                on_page=on_page,
                skip_existing=options.skip_existing,
                again=options.again,
            )
    except BaseException as error:
        # Also on Ctrl-C: release the jobs planned so far for the next plan.
        why = str(error) if isinstance(error, IttybatchError) else type(error).__name__
        ledger.write(hold_and_end, leg, f"Saving its plan failed: {why}")
        raise
    _end_leg(ledger, leg)
    return planned


def _end_leg(ledger: Ledger, leg: Leg) -> None:
    """End this process's run. If the plan was approved meanwhile, a flow run continues."""
    if ledger.write(end_run, leg) is Ending.GO_ON:
        ledger.write(hand_over, leg.owner, leg.generation)
