"""Reconcile the ledger with Ittybit and Prefect."""

import logging

from prefect.settings import get_current_settings

from ittybatch.engine.flow_runs import open_flow_runs
from ittybatch.engine.polling import poll_silent
from ittybatch.engine.tidying import end_left_behind, tidy
from ittybatch.engine.waking import Waker
from ittybatch.ledger import Ledger
from ittybatch.ledger.counters import recount_all
from ittybatch.ledger.last_runs import RECONCILE, record_run
from ittybatch.ledger.shares import count_changed_shares
from ittybatch.ledger.sweep import sweep
from ittybatch.settings import Settings

logger = logging.getLogger(__name__)


async def reconcile(settings: Settings, ledger: Ledger) -> dict[str, int]:
    """Poll overdue jobs, check counters, and wake, create or replace flow runs.

    Two concurrent calls are safe.

    Returns:
        Numbers of the changes made, by name.

    Raises:
        ConfigurationError: A job is overdue and the API key is missing.
        PrefectUnavailable: Prefect does not answer. The steps before that were done.
    """
    polled = await poll_silent(settings, ledger)
    mended = 0
    for mended, counters in enumerate(recount_all(ledger), 1):  # noqa: B007  counted, then logged
        logger.warning(
            "Batch %s, chunk %d: its counters were wrong; they are %s now.",
            counters.batch,
            counters.number,
            counters.counts,
        )
    done = {
        "silent jobs polled": polled.asked,
        "settled": polled.settled,
        "given up as expired": polled.expired,
        "could not be polled": polled.failed,
        "chunk counters corrected": mended,
        "batches and chunks without a run repaired": len(sweep(ledger, settings.lease_s)),
    }
    if polled.trouble:
        logger.warning("%d jobs could not be polled: %s", polled.failed, polled.trouble)
    if get_current_settings().api.url is not None:
        with open_flow_runs() as flow_runs:
            waker = Waker(ledger, flow_runs, lease_s=settings.lease_s)
            for woken in (waker.round(), waker.check_waiting()):
                for how, owners in woken.by_kind():
                    name = f"runs {how}"
                    done[name] = done.get(name, 0) + len(owners)
            stuck = end_left_behind(ledger, flow_runs, settings.lease_s)
            done["stuck runs of batches and chunks ended"] = len(stuck)
            done["stuck runs of reconcile and steer-batch ended"] = len(tidy(flow_runs))
    # For people to look at, so after everything that waits for it.
    count_changed_shares(ledger)
    ledger.write(record_run, RECONCILE, {what: count for what, count in done.items() if count})
    return done
