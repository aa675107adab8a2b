"""Submit: send a chunk's due jobs to Ittybit."""

import asyncio

from prefect.logging import get_run_logger

from ittybatch.engine.connection import connect
from ittybatch.engine.dispatch import Dispatched, Dispatcher
from ittybatch.engine.pace import Pace
from ittybatch.ittybit.errors import IttybitError
from ittybatch.ledger import Ledger
from ittybatch.ledger.legs import Leg
from ittybatch.settings import Settings
from ittybatch.tasks.step import step


@step("submit")
def submit(ledger: Ledger, settings: Settings, chunk: int, leg: Leg) -> Dispatched:
    """Send due jobs, and jobs that an earlier leg may have sent without recording the response."""
    done = asyncio.run(_dispatch(ledger, settings, chunk, leg))
    logger = get_run_logger()
    if done.total:
        logger.info(
            "Submitted to Ittybit: %d accepted, %d refused, %d without an answer, %d put back.",
            done.accepted,
            done.refused,
            done.unknown,
            done.put_back,
        )
    if done.tripped:
        logger.error("Ittybit seems to be down: %s", done.tripped)
    if done.pause_s:
        logger.warning("Nothing more is sent for %.0f s; then one probe.", done.pause_s)
    if done.stopped:
        logger.error("Stopped submitting: %s", done.stopped)
    return done


async def _dispatch(ledger: Ledger, settings: Settings, chunk: int, leg: Leg) -> Dispatched:
    logger = get_run_logger()

    def warn(error: IttybitError, wait_s: float) -> None:
        logger.warning("Ittybit asks for a pause of %.0f s: %s", wait_s, error.message)

    pace = Pace(settings.submit_rate_per_s, on_hold=warn)
    async with connect(settings, on_retry=pace.note_retry) as client:
        return await Dispatcher(
            ledger,
            client,
            chunk,
            concurrency=settings.submit_concurrency,
            webhook_url=settings.webhook_url,
            connection_id=settings.connection_id,
            pace=pace,
            leg=leg,
        ).run()
