"""Release: create flow runs for chunks, as many at a time as the batch allows."""

from prefect.logging import get_run_logger

from ittybatch.engine.flow_runs import PrefectUnavailable, open_flow_runs
from ittybatch.engine.waking import Waker
from ittybatch.ledger import Ledger
from ittybatch.ledger.chunks import release_chunks, released_chunks
from ittybatch.settings import Settings
from ittybatch.tasks.leg import this_run
from ittybatch.tasks.step import step


@step("release")
def release(
    ledger: Ledger, settings: Settings, batch: str, max_active: int, *, in_place: bool
) -> list[int]:
    """Release chunks up to the batch's and the installation's limits.

    The ledger records each run before Prefect creates it, under an idempotency key, so that it is
    created only once.

    Returns:
        The ids of chunks to run in this process, if `in_place`.
    """
    most = settings.max_in_flight
    limits = (1, None if this_run()[1] is None else most) if in_place else (max_active, most)
    owners = ledger.write(release_chunks, batch, *limits)
    if owners and not in_place:
        try:
            with open_flow_runs() as flow_runs:
                Waker(ledger, flow_runs, lease_s=settings.lease_s).make_missing(batch)
        except PrefectUnavailable as error:
            get_run_logger().warning("The flow runs are created later: %s", error)
        get_run_logger().info(
            "Released %d %s: flow runs tagged batch:%s.",
            len(owners),
            "chunk" if len(owners) == 1 else "chunks",
            batch,
        )
    return ledger.read(released_chunks, batch) if in_place else []
