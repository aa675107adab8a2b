"""Adopt: find this flow run's batch in the ledger, or create it."""

from prefect.logging import get_run_logger

from ittybatch.engine.naming import default_batch_name
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
    """Find this flow run's batch, or create it with a frozen copy of the profile.

    Raises:
        ProfileError: The profile is missing or invalid.
        UnknownForm: `report_to` names a file instead of a folder.
        DestinationOverlap: Outputs would be written to a folder that the source scans.
    """
    flow_run, _ = this_run()
    # The ledger stores source, profile and options when the batch is created. Later legs use
    # these copies: files may have changed, and `latest` may mean another batch by now.
    batch = ledger.read(known_batch, flow_run, adopt=options.go_on_with) or _opened(
        ledger, settings, source, profile, options
    )
    get_run_logger().info("Batch %s (%s) is %s.", batch.id, batch.name, batch.state)
    if this_run()[1] is not None and in_place():
        get_run_logger().info(
            "Prefect cannot suspend a subflow: this run keeps its process and runs its chunks one "
            "after the other. With `run_deployment(..., as_subflow=False)` it suspends, and its "
            "chunks run in parallel."
        )
    tag_batch(batch.id)
    return batch


def _opened(
    ledger: Ledger, settings: Settings, source: Source, profile: str, options: BatchOptions
) -> OpenBatch:
    flow_run, deployment = this_run()
    refuse_file(options.report_to)
    # Release the jobs of batches whose process was killed while planning.
    sweep(ledger, settings.lease_s)
    source, chosen = settle(ledger, source, profile, settings.profiles_dir)
    # The source is later a parameter of a replacing run, and Prefect refuses nulls there.
    stored = source.model_dump(mode="json", exclude_none=True)
    return ledger.write(
        open_batch,
        flow_run_id=flow_run,
        deployment_id=deployment,
        name=options.name
        or ledger.read(default_batch_name, stored, chosen.name, deployment_name()),
        source=stored,
        profile=chosen.model_dump(mode="json"),
        options=options.to_store(),
    )
