"""A saved plan: a batch that is fully planned and starts when it is approved."""

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
    """Plan a batch to its end, and let it wait for approval.

    It later submits exactly what it plans now, except for jobs that another batch takes over
    meanwhile: a plan that may never start does not block others.

    Args:
        ledger: Where the plan goes.
        settings: Where the profiles are, and the lease of a leg.
        source: What to read.
        profile: Name or path of the profile.
        options: How the batch is to be run.
        on_page: Called with the counts after each page.

    Raises:
        SourceError: The source cannot be read.
        ProfileError: The profile cannot be used.
    """
    # Free the jobs of a plan whose process was killed while it was saved.
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
                why_ask=lambda _: _REASON,
            )
    except BaseException as error:
        # On Ctrl-C too: jobs that were planned by then must be free for the next plan.
        why = str(error) if isinstance(error, IttybatchError) else type(error).__name__
        ledger.write(hold_and_end, leg, f"Its plan was not saved to the end: {why}")
        raise
    _leave(ledger, leg)
    return planned


def _leave(ledger: Ledger, leg: Leg) -> None:
    """End this process's run; if somebody has approved meanwhile, a flow run continues."""
    if ledger.write(end_run, leg) is Ending.GO_ON:
        ledger.write(hand_over, leg.owner, leg.generation)
