"""Poll: ask Ittybit for the state of jobs whose webhook has not come."""

import asyncio

from prefect.logging import get_run_logger

from ittybatch.engine.connection import connect
from ittybatch.engine.polling import Polled, poll_expired, poll_silent
from ittybatch.ledger import Ledger
from ittybatch.ledger.overdue import expired_jobs
from ittybatch.settings import Settings
from ittybatch.tasks.step import step


@step("poll")
def poll(ledger: Ledger, settings: Settings, chunk: int) -> None:
    """Settle jobs that ended without a webhook, and give up jobs past their deadline."""
    done = asyncio.run(poll_silent(settings, ledger, chunk))
    logger = get_run_logger()
    if done.asked:
        logger.info(
            "Polled %d jobs without a webhook: %d settled, %d given up.",
            done.asked,
            done.settled,
            done.expired,
        )
    if done.trouble:
        logger.warning("%d jobs could not be polled: %s", done.failed, done.trouble)


@step("poll-expired")
def poll_expired_jobs(ledger: Ledger, settings: Settings, batch: str) -> None:
    """Record expired jobs that have succeeded meanwhile, before the others are made again."""
    if not ledger.read(expired_jobs, batch, limit=1):
        return
    done = asyncio.run(_poll_expired(ledger, settings, batch))
    get_run_logger().info(
        "Polled %d expired jobs of batch %s: %d have succeeded.",
        done.asked,
        batch,
        done.settled,
    )


async def _poll_expired(ledger: Ledger, settings: Settings, batch: str) -> Polled:
    async with connect(settings) as client:
        return await poll_expired(ledger, client, batch)
