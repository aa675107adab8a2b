"""Release held jobs: count and price them first, then release them, and say how far it got."""

from collections import Counter
from dataclasses import dataclass

from ittybatch.engine.amounts import format_count
from ittybatch.engine.estimate import Estimate
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.retrying import price_of
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.quarantine import (
    MOST_CHUNKS_READ,
    HeldFilter,
    count_held,
    release_some,
)
from ittybatch.settings import Settings

# Somebody waits for the answer. More are released by another click, or by the command.
MOST_AT_ONCE = 20_000


class NothingToRelease(IttybatchError):
    """No job that fits is held back."""


@dataclass(frozen=True, slots=True)
class Release:
    """Held jobs that can be released.

    Args:
        wanted: Which jobs.
        kinds: The number of jobs by kind.
        estimate: What making them again may cost.
        is_part: Whether more may be held than were counted. Those are not released with these.
    """

    wanted: HeldFilter
    kinds: Counter[str]
    estimate: Estimate
    is_part: bool

    @property
    def jobs(self) -> int:
        """The number of jobs, at most `MOST_AT_ONCE`."""
        return self.kinds.total()

    @property
    def looked_at(self) -> int | None:
        """The number of chunks that were looked at, if the count ended with them."""
        return MOST_CHUNKS_READ if self.is_part and self.jobs < MOST_AT_ONCE else None


@dataclass(frozen=True, slots=True)
class Released:
    """What was released.

    Args:
        jobs: The number of jobs.
        expected: The number of jobs before.
        stopped: Why it stopped before the end; None if it did not.
        is_part: Whether it stopped at `MOST_AT_ONCE`: more may be held for the same reason.
    """

    jobs: int
    expected: int
    stopped: str | None = None
    is_part: bool = False

    @property
    def complete(self) -> bool:
        """Whether as many were released as were expected."""
        return self.stopped is None and not self.is_part and self.jobs >= self.expected

    def describe(self) -> str:
        """Describe what was done, and what was not."""
        text = f"Released {format_count(self.jobs, 'job')}: the next batch that finds their items "
        text += "makes them again."
        if self.stopped is not None:
            return f"{text} Then it stopped: {self.stopped} The others stay held back."
        if self.is_part:
            return f"{text} There are more; release them with another click."
        if (missing := self.expected - self.jobs) > 0:
            others = format_count(missing, "job")
            return f"{text} {others} had been released or made again meanwhile."
        return text


def count_release(transaction: Transaction, settings: Settings, wanted: HeldFilter) -> Release:
    """Count held jobs, and what making them again may cost.

    Args:
        transaction: The transaction to look in.
        settings: The prices by kind.
        wanted: Which jobs.
    """
    found = count_held(transaction, wanted, most=MOST_AT_ONCE)
    price = price_of(found.kinds, rates_of(transaction, wanted), settings)
    return Release(wanted, found.kinds, price, found.is_part)


def rates_of(transaction: Transaction, wanted: HeldFilter) -> BatchOptions:
    """The options that a release is priced with: of its batch, if it is about one.

    Args:
        transaction: The transaction to look in.
        wanted: Which jobs are released.

    Raises:
        UnknownBatch: There is no such batch.
    """
    if wanted.batch is None:
        return BatchOptions()
    return BatchOptions.model_validate(read_batch(transaction, wanted.batch).options)


def release_jobs(ledger: Ledger, wanted: HeldFilter, *, expected: int) -> Released:
    """Release held jobs, in small transactions.

    Args:
        ledger: The ledger.
        wanted: Which jobs.
        expected: The number that somebody has seen. No more are released.

    Raises:
        NothingToRelease: No job fits any more.
        LedgerUnavailable: The ledger could not be reached before anything was released.
    """
    done = 0
    most = min(expected, MOST_AT_ONCE)
    try:
        for count in release_some(ledger, wanted, most=most):
            done += count
    except LedgerUnavailable as error:
        if not done:
            raise
        return Released(done, expected, stopped=error.message)
    if not done:
        raise NothingToRelease(
            "There is nothing to release: these jobs have been released, or made again."
        )
    return Released(done, expected, is_part=done >= MOST_AT_ONCE)
