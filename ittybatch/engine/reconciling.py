"""Reconciling: the ledger, Ittybit and Prefect are brought to one view."""

from prefect.settings import get_current_settings

from ittybatch.engine.connection import connect
from ittybatch.engine.flow_runs import open_flow_runs
from ittybatch.engine.polling import poll_overdue
from ittybatch.engine.tidying import tidy
from ittybatch.engine.waking import Waker
from ittybatch.ledger import Ledger
from ittybatch.ledger.counters import recount_all
from ittybatch.ledger.sweep import sweep
from ittybatch.settings import Settings


async def reconcile(settings: Settings, ledger: Ledger) -> dict[str, int]:
    """Poll what is overdue, check counters, wake what is ready. Two at once do no harm.

    Returns:
        What was done, in counts by name.

    Raises:
        ConfigurationError: when there is no API key.
        PrefectUnavailable: when Prefect does not answer; what came before it is done.
    """
    async with connect(settings) as client:
        polled = await poll_overdue(ledger, client, silent_s=settings.silence_s)
    mended = sum(1 for _ in recount_all(ledger))
    done = {
        "silent jobs asked after": polled.asked,
        "settled": polled.settled,
        "given up as expired": polled.expired,
        "could not be asked after": polled.failed,
        "chunks' counters mended": mended,
        "owners without a run mended": len(sweep(ledger, settings.lease_s)),
    }
    if get_current_settings().api.url is None:
        return done
    with open_flow_runs() as flow_runs:
        waker = Waker(ledger, flow_runs, lease_s=settings.lease_s)
        for woken in (waker.round(), waker.check_waiting()):
            for how, owners in woken.by_kind():
                name = f"runs {how}"
                done[name] = done.get(name, 0) + len(owners)
        done["stuck runs of reconcile ended"] = len(tidy(flow_runs))
    return done
