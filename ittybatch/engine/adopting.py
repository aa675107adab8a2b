"""Adopt jobs: record jobs that another ledger submitted as jobs of this batch."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ittybatch.engine.amounts import format_count
from ittybatch.engine.connection import connect
from ittybatch.engine.lookup import find_all, made_elsewhere
from ittybatch.engine.recording import recorded
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import Asker
from ittybatch.ledger.adoption import Adopted, UnsentJob, adopt_jobs, unsent_jobs
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.states import BatchState, JobState
from ittybatch.settings import Settings

_GROUP = 200
_CONCURRENCY = 16


@dataclass(slots=True)
class Adoption:
    """The result of adopting.

    Args:
        batch: The batch's id.
        state: The batch's state.
        looked_for: Number of jobs looked up.
        adopted: Numbers of jobs found and recorded, by state.
        own: Number of jobs found that this ledger has sent itself.
        left: Number of jobs found and not recorded, because their requests may be under way.
    """

    batch: str
    state: BatchState
    looked_for: int = 0
    adopted: Counter[JobState] = field(default_factory=Counter)
    own: int = 0
    left: int = 0

    def describe(self) -> str:
        """Describe the result and the next step, for people."""
        found = sum(self.adopted.values())
        counts = ", ".join(f"{count:,} {state}" for state, count in sorted(self.adopted.items()))
        text = (
            f"Looked for {format_count(self.looked_for, 'unsent job')} of batch {self.batch} at "
            f"Ittybit: {found:,} are there and were recorded{f' ({counts})' if counts else ''}, "
        )
        if self.own:
            text += f"{self.own:,} are there as this ledger sent them and wait for its next leg, "
        if self.left:
            text += (
                f"{self.left:,} are there and were left alone, because this ledger may have just "
                "sent or ended them (in five minutes, adopt again), "
            )
        missing = self.looked_for - found - self.own - self.left
        text += f"{missing:,} are not. Nothing was sent or paid for."
        if self.state is BatchState.HELD:
            text += f" `ittybatch resume {self.batch}` sends the rest."
        return text


def adopt(settings: Settings, ledger: Ledger, batch: str, asker: Asker) -> Adoption:
    """Adopt a batch's jobs, and record who asked for it and the outcome.

    Args:
        settings: The API key and address of Ittybit.
        ledger: The ledger that has the batch.
        batch: The batch's id.
        asker: Who asks for it.

    Raises:
        ConfigurationError: There is no API key.
        IttybitError: A lookup failed. It is safe to run this again.
    """
    done = Adoption(batch, ledger.read(read_batch, batch).state)

    async def run() -> None:
        async with connect(settings) as client:
            await adopt_batch(ledger, client, done, lease_s=settings.lease_s)

    with recorded(ledger, asker, "adopt", batch=batch) as record:
        try:
            asyncio.run(run())
        finally:
            record.outcome = done.describe()
            record.so_far = record.outcome if done.adopted else None
    return done


async def adopt_batch(
    ledger: Ledger, client: IttybitClient, done: Adoption, *, lease_s: float
) -> None:
    """Look up each unsent job of a batch at Ittybit, and record those that exist.

    Jobs match if they have the same input and the same job key in their metadata, and therefore
    the same item, options and destination. Safe to repeat and to interrupt: recorded jobs stay
    recorded.

    Args:
        ledger: The ledger that has the batch.
        client: Client of Ittybit's API.
        done: The batch, and what is done so far.
        lease_s: Seconds without a heartbeat after which a leg counts as dead.

    Raises:
        IttybitError: A lookup failed. It is safe to run this again.
    """
    after = 0
    while jobs := ledger.read(unsent_jobs, done.batch, after=after, limit=_GROUP):
        after = jobs[-1].id
        found, own = await _find(ledger, client, jobs)
        states = ledger.write(adopt_jobs, found, lease_s=lease_s)
        done.looked_for += len(jobs)
        done.adopted.update(states)
        done.own += own
        done.left += len(found) - len(states)


async def _find(
    ledger: Ledger, client: IttybitClient, jobs: Sequence[UnsentJob]
) -> tuple[list[Adopted], int]:
    """Find jobs that another ledger sent, and count those that this ledger sent itself."""
    by_input: dict[str, list[UnsentJob]] = {}
    for job in jobs:
        by_input.setdefault(job.input, []).append(job)
    slots = asyncio.Semaphore(_CONCURRENCY)
    found: list[Adopted] = []
    own: list[int] = []

    async def look(uri: str, wanted: Sequence[UnsentJob]) -> None:
        async with slots:
            there = await find_all(client, uri)
        marks = {each.mark for each in there}
        for job in wanted:
            # This ledger sent the job itself; the next leg finds it.
            if job.mark is not None and job.mark in marks:
                own.append(job.id)
                continue
            other = made_elsewhere(ledger, there, job.job_key)
            if other is not None:
                found.append(Adopted(job.id, other.mark.attempt, other.job))

    await asyncio.gather(*(look(uri, wanted) for uri, wanted in by_input.items()))
    return found, len(own)
