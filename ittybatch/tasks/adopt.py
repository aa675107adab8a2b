"""Adopt: find this flow run's batch in the ledger, or open it."""

from prefect.logging import get_run_logger

from ittybatch.engine.options import BatchOptions
from ittybatch.engine.reports.forms import refuse_file
from ittybatch.engine.scope import settle
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import OpenBatch, known_batch, open_batch
from ittybatch.ledger.sweep import sweep
from ittybatch.settings import Settings
from ittybatch.sources import Source
from ittybatch.tasks.labels import deployment_name, tag_batch
from ittybatch.tasks.leg import in_place, this_run
from ittybatch.tasks.step import step


@step("adopt")
def adopt(
    ledger: Ledger, settings: Settings, source: Source, profile: str, options: BatchOptions
) -> OpenBatch:
    """Find this flow run's batch, or open it with a frozen copy of the profile.

    Raises:
        ProfileError: when the profile cannot be used.
        UnknownForm: when copies of the report are to go to a file.
        DestinationOverlap: when outputs would land where the source is scanned.
    """
    flow_run, _ = this_run()
    # What a batch was begun with is frozen in the ledger: what lies in files by now, and what
    # `latest` would mean, is of no concern to its later legs.
    batch = ledger.read(known_batch, flow_run, adopt=options.go_on_with) or _opened(
        ledger, settings, source, profile, options
    )
    get_run_logger().info("Batch %s (%s) is %s.", batch.id, batch.name, batch.state)
    if this_run()[1] is not None and in_place():
        get_run_logger().info(
            "Prefect cannot suspend a subflow: this run stays, and works through its chunks one "
            "after the other. With `run_deployment(..., as_subflow=False)` it suspends, and its "
            "chunks run side by side."
        )
    tag_batch(batch.id)
    return batch


def _opened(
    ledger: Ledger, settings: Settings, source: Source, profile: str, options: BatchOptions
) -> OpenBatch:
    flow_run, deployment = this_run()
    refuse_file(options.report_to)
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
        options=options.to_store(),
    )
