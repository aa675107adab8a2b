"""Poll: ask Ittybit after jobs that nothing was heard of."""

import asyncio

from prefect.logging import get_run_logger

from ittybatch.engine.connection import connect
from ittybatch.engine.polling import Polled, poll_overdue
from ittybatch.ledger import Ledger
from ittybatch.settings import Settings
from tasks.step import step


@step("poll")
def poll(ledger: Ledger, settings: Settings, chunk: int | None = None) -> Polled:
    """Settle what ended without a webhook; give up what is past its deadline."""
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


async def _poll(ledger: Ledger, settings: Settings, chunk: int | None) -> Polled:
    async with connect(settings) as client:
        return await poll_overdue(ledger, client, silent_s=settings.silence_s, chunk=chunk)
