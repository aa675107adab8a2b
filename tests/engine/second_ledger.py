"""A second ledger that adopts, and what time does to its jobs."""

import asyncio

from sqlalchemy import update

from ittybatch.engine.adopting import Adoption, adopt_batch
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.models import Job
from tests.sandbox.harness import KEY, Running

NAMES = [f"{number}.mov" for number in range(30)]


def adopt(ledger: Ledger, url: str, batch: str) -> Adoption:
    done = Adoption(batch, ledger.read(read_batch, batch).state)

    async def run() -> None:
        async with IttybitClient(KEY, base_url=url, attempts=1) as client:
            await adopt_batch(ledger, client, done, lease_s=60)

    asyncio.run(run())
    return done


def forget_keys(ledger: Ledger) -> None:
    """Ittybit forgets keys after a day; here, ours are others than the first ledger's."""
    ledger.write(lambda tx: tx.execute(update(Job).values(attempt=6, last_attempt=9)))


def let_claims_be_old(ledger: Ledger) -> None:
    ledger.write(lambda tx: tx.execute(update(Job).values(deadline_at=tx.now)))


def all_ended(sandbox: Running) -> bool:
    return all(job["status"] in {"succeeded", "failed"} for job in sandbox.all_jobs())
