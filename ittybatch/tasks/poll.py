"""Poll: ask Ittybit after jobs that nothing was heard of."""

import asyncio

from prefect.logging import get_run_logger

from ittybatch.engine.connection import connect
from ittybatch.engine.polling import Polled, poll_expired, poll_overdue
from ittybatch.ledger import Ledger
from ittybatch.ledger.overdue import expired_jobs, overdue_jobs
from ittybatch.settings import Settings
from ittybatch.tasks.step import step


@step("poll")
def poll(ledger: Ledger, settings: Settings, chunk: int | None = None) -> Polled:
    """Settle what ended without a webhook; give up what is past its deadline."""
    if not ledger.read(overdue_jobs, silent_s=settings.silence_s, chunk=chunk, limit=1):
        return Polled()
    done = asyncio.run(_poll(ledger, settings, chunk))
    logger = get_run_logger()
    if done.asked:
        logger.info(
            "Asked after %d silent jobs: %d settled, %d given up.",
            done.asked,
            done.settled,
            done.expired,
        )
    if done.trouble:
        logger.warning("%d could not be asked after: %s", done.failed, done.trouble)
    return done


@step("poll-expired")
def poll_given_up(ledger: Ledger, settings: Settings, batch: str) -> None:
    """Before given-up jobs are made again: take those as succeeded that have by now."""
    if not ledger.read(expired_jobs, batch, limit=1):
        return
    done = asyncio.run(_poll_expired(ledger, settings, batch))
    get_run_logger().info(
        "Asked after %d expired jobs of batch %s: %d have succeeded.",
        done.asked,
        batch,
        done.settled,
    )


async def _poll_expired(ledger: Ledger, settings: Settings, batch: str) -> Polled:
    async with connect(settings) as client:
        return await poll_expired(ledger, client, batch)


async def _poll(ledger: Ledger, settings: Settings, chunk: int | None) -> Polled:
    async with connect(settings) as client:
        return await poll_overdue(ledger, client, silent_s=settings.silence_s, chunk=chunk)
