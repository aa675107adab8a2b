"""Scan: plan a batch from its source, or only preview it."""

from collections.abc import Callable, Mapping

from prefect.logging import get_run_logger
from pydantic import TypeAdapter

from ittybatch.engine.estimate import estimate, why_ask
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.planning import Preview, plan_batch, preview, wanted_of
from ittybatch.engine.reports.places import folder_of
from ittybatch.engine.reports.rejects import write_rejects_file
from ittybatch.engine.scope import settle
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import OpenBatch, read_batch
from ittybatch.ledger.legs import Leg
from ittybatch.ledger.queries import past_durations
from ittybatch.ledger.retrying import batches_with
from ittybatch.ledger.states import BatchState
from ittybatch.ledger.stopping import hold_and_end
from ittybatch.settings import Settings
from ittybatch.sources import FailedJobsSource, Source
from ittybatch.tasks.artifacts import planned as planned_sentence
from ittybatch.tasks.artifacts import show_plan
from ittybatch.tasks.poll import poll_expired_jobs
from ittybatch.tasks.step import step

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)
_LOG_EVERY = 10_000


@step("scan")
def scan(ledger: Ledger, settings: Settings, batch: OpenBatch, leg: Leg) -> OpenBatch:
    """Plan the batch, starting where an earlier leg stopped.

    If the source cannot be read, the batch is held and its run ends. After a resume, another run
    continues from there.

    The definition of the source comes from the ledger, where it was stored when the batch was
    created: by now, `latest` would mean this batch.

    Raises:
        LedgerUnavailable: The hold could not be written.
    """
    if batch.state is not BatchState.PLANNING:
        return batch
    options = BatchOptions.model_validate(batch.options)
    source: Source = _SOURCE.validate_python(dict(batch.source))
    if isinstance(source, FailedJobsSource):
        for each in ledger.read(batches_with, wanted_of(source)):
            poll_expired_jobs(ledger, settings, each)
    try:
        planned = plan_batch(
            ledger,
            batch,
            source,
            settings.profiles_dir,
            chunk_size=options.chunk_size,
            canary_items=options.canary_items,
            on_page=_progress_log(),
            skip_existing=options.skip_existing,
            again=options.again,
            why_ask=lambda counts: why_ask(
                estimate(counts, options, settings, ledger.read(past_durations)), options
            ),
        )
    except IttybatchError as error:
        # Both in one transaction: the run of a held batch is not replaced, and a resume creates
        # another.
        ledger.write(hold_and_end, leg, str(error))
        get_run_logger().error("The batch is held: %s", error)
        return ledger.read(read_batch, batch.id)
    if not planned.scan_done:
        return planned
    rejects = write_rejects_file(ledger, batch.id, folder_of(settings.home, batch.id))
    get_run_logger().info("Planned: %s.", planned_sentence(planned.counts))
    show_plan(
        planned.id,
        planned.counts,
        source=planned.source,
        profile=str(planned.profile["name"]),
        expected=estimate(planned.counts, options, settings, ledger.read(past_durations)),
        rejects=rejects,
    )
    return planned


@step("look")
def look(
    ledger: Ledger, settings: Settings, source: Source, profile: str, options: BatchOptions
) -> Preview:
    """Preview what a run would do. Write and submit nothing."""
    source, chosen = settle(ledger, source, profile, settings.profiles_dir)
    found = preview(
        ledger,
        source,
        chosen,
        settings.profiles_dir,
        on_page=_progress_log(),
        skip_existing=options.skip_existing,
        again=options.again,
    )
    show_plan(
        "dry-run",
        found.counts,
        source=source.model_dump(mode="json"),
        profile=chosen.name,
        expected=estimate(found.counts, options, settings, ledger.read(past_durations)),
        sample=found.sample,
    )
    return found


def _progress_log() -> Callable[[Mapping[str, int]], None]:
    logger = get_run_logger()
    logged = 0

    def log(counts: Mapping[str, int]) -> None:
        nonlocal logged
        if counts.get("found", 0) >= logged + _LOG_EVERY:
            logged = counts["found"]
            logger.info("%d items found, %d jobs planned.", logged, counts.get("jobs", 0))

    return log
