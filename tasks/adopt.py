"""Adopt: find this flow run's batch in the ledger, or open it."""

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from ittybatch.engine.flow_runs import PrefectUnavailable, open_flow_runs
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.scope import settle
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import OpenBatch, known_batch, open_batch
from ittybatch.ledger.sweep import sweep
from ittybatch.settings import Settings
from ittybatch.sources import Source
from tasks.leg import this_run
from tasks.naming import deployment_name
from tasks.step import step


@step("adopt")
def adopt(
    ledger: Ledger, settings: Settings, source: Source, profile: str, options: BatchOptions
) -> OpenBatch:
    """Find this flow run's batch, or open it with a frozen copy of the profile.

    Raises:
        ProfileError: when the profile cannot be used.
        DestinationOverlap: when outputs would land where the source is scanned.
    """
    flow_run, _ = this_run()
    # What a batch was begun with is frozen in the ledger: what lies in files by now, and what
    # `latest` would mean, is of no concern to its later legs.
    batch = ledger.read(known_batch, flow_run, adopt=options.go_on_with) or _opened(
        ledger, settings, source, profile, options
    )
    get_run_logger().info("Batch %s (%s) is %s.", batch.id, batch.name, batch.state)
    _tag(batch.id)
    return batch


def _opened(
    ledger: Ledger, settings: Settings, source: Source, profile: str, options: BatchOptions
) -> OpenBatch:
    flow_run, deployment = this_run()
    # The jobs of a process that was killed in the middle are free for this batch.
    sweep(ledger, settings.lease_s)
    source, chosen = settle(ledger, source, profile, settings.profiles_dir)
    return ledger.write(
        open_batch,
        flow_run_id=flow_run,
        deployment_id=deployment,
        name=options.name or deployment_name() or chosen.name,
        # A run that takes this one's place is started with these two: Prefect refuses nulls.
        source=source.model_dump(mode="json", exclude_none=True),
        profile=chosen.model_dump(mode="json"),
        options=options.model_dump(mode="json", exclude={"go_on_with"}, exclude_none=True),
    )


def _tag(batch: str) -> None:
    """Tag this flow run as its chunks are tagged, so that a filter shows them together."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    tag = f"batch:{batch}"
    if run is None or tag in run.tags:
        return
    try:
        with open_flow_runs() as flow_runs:
            flow_runs.tag(str(run.id), [*run.tags, tag])
    except PrefectUnavailable as error:
        get_run_logger().warning("The flow run could not be tagged: %s", error)
