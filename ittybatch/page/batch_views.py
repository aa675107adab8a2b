"""What the page of a batch shows, read from the ledger in one transaction for each region."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ittybatch.engine.advice import EXPLANATIONS, Outlook, outlook
from ittybatch.engine.conditions import Condition, describe_brakes, describe_wait
from ittybatch.engine.estimate import Estimate, estimate
from ittybatch.engine.lookup import is_made_elsewhere
from ittybatch.engine.naming import source_name
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.plan_counts import describe_counts
from ittybatch.engine.prefect_pages import flow_run_url
from ittybatch.engine.prices import Prices
from ittybatch.engine.retrying import price_of, short_price
from ittybatch.engine.speed import Speed, speed_at
from ittybatch.engine.steering import Action, why_not
from ittybatch.ledger import Transaction
from ittybatch.ledger.actions import DoneAction
from ittybatch.ledger.asking import problems_of
from ittybatch.ledger.batch_detail import (
    Brakes,
    ChunkRow,
    brakes_of,
    chunk_rows,
    waiting_again,
)
from ittybatch.ledger.failure_groups import FailureGroup, failure_groups
from ittybatch.ledger.progress import KIND, BatchProgress, batch_progress
from ittybatch.ledger.pulse import ended_lately
from ittybatch.ledger.queries import (
    BatchStatus,
    batch_status,
    past_durations,
)
from ittybatch.ledger.states import BatchState, ChunkState
from ittybatch.page.batch_actions import actions_of, retried_batch
from ittybatch.page.batch_address import batch_url
from ittybatch.page.retries_under_way import retries_under_way, takes
from ittybatch.settings import Settings

_AT_WORK_SHOWN = 10
_NEXT_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Now:
    """A batch as it is now.

    Args:
        status: The batch in numbers.
        source: A short name of its source.
        brakes: What slows or stops it.
        conditions: The same in words.
        speed: How fast its jobs end.
        spent: What it has spent, in the user's unit; None if unknown.
        planned: The estimated cost and time of its plan.
        problems: Failed polls of its jobs, in words.
        refused: By action, why it is not possible now; None if it is.
        flow_run_url: Its flow run's page in Prefect.
        retries: The batch whose jobs it makes again; None if it is no retry of one batch.
        to_retry: Jobs that were sent, and wait for another attempt.
        made_elsewhere: Whether it is held because another ledger has sent its jobs.
    """

    status: BatchStatus
    source: str
    brakes: Brakes
    conditions: Sequence[Condition]
    speed: Speed
    spent: float | None
    planned: Estimate
    problems: str | None
    refused: dict[str, str | None]
    flow_run_url: str | None
    retries: str | None
    to_retry: int
    made_elsewhere: bool

    @property
    def plan_lines(self) -> list[tuple[int, str]]:
        """The counts of the plan, with what was left out and why; renditions are shown apart."""
        return [
            (number, words)
            for number, words in describe_counts(self.status.plan)
            if not words.startswith("jobs of rendition ")
        ]


def now_of(
    transaction: Transaction,
    batch: str,
    settings: Settings,
    progress: BatchProgress | None = None,
) -> Now:
    """Read a batch as it is now.

    Args:
        transaction: The transaction to look in.
        batch: The batch.
        settings: Rates by kind.
        progress: How far its renditions are, if that was read already.
    """
    status = batch_status(transaction, batch)
    brakes = brakes_of(transaction, batch)
    per_minute = None
    if status.state is BatchState.RUNNING:
        per_minute = ended_lately(transaction, [batch]).get(batch)
    # Only a plan that waits for approval shows how long it will take.
    known = past_durations(transaction) if status.state is BatchState.UNAPPROVED else {}
    options = BatchOptions.model_validate(status.options)
    planned = estimate(status.plan, options, settings, known)
    prices = Prices(options.cost_per_job, settings.kind_costs)
    problems = problems_of(transaction, batch) if status.counts["in_flight"] else None
    return Now(
        status=status,
        source=source_name(status.source),
        brakes=brakes,
        conditions=list(describe_brakes(brakes)),
        speed=speed_at(per_minute, status),
        spent=_spent(transaction, status, prices, progress),
        planned=planned,
        problems=problems.describe() if problems else None,
        refused={action.value: why_not(action, status.state) for action in Action},
        flow_run_url=flow_run_url(status.flow_run_id),
        retries=retried_batch(status.source),
        to_retry=sum(waiting_again(transaction, batch).values()) if _may_wait(status) else 0,
        made_elsewhere=status.state is BatchState.HELD and is_made_elsewhere(status.reason),
    )


def _may_wait(status: BatchStatus) -> bool:
    return bool(status.counts["planned"] and status.sent)


def _spent(
    transaction: Transaction, status: BatchStatus, prices: Prices, progress: BatchProgress | None
) -> float | None:
    """What a batch has spent. Counting its submissions by kind is left out where it can be."""
    if not prices.any:
        return None
    kinds = [name.removeprefix(KIND) for name in status.plan if name.startswith(KIND)]
    if prices.per_job or len(kinds) == 1:
        return prices.cost({kinds[0] if kinds else "": status.sent})
    return prices.cost((progress or renditions_of(transaction, status.id)).sent_by_kind)


def renditions_of(transaction: Transaction, batch: str) -> BatchProgress:
    """How far each rendition of a batch is."""
    return batch_progress(transaction, [batch])[batch]


def whole_batch(transaction: Transaction, batch: str, settings: Settings) -> dict[str, Any]:
    """All regions of a batch's page, by name."""
    progress = renditions_of(transaction, batch)
    return {
        "now": now_of(transaction, batch, settings, progress),
        "renditions": progress,
        "failures": failures_of(transaction, batch, settings),
        "chunks": chunks_at_work(transaction, batch),
        "done": actions_of(transaction, batch),
    }


@dataclass(frozen=True, slots=True)
class ShownGroup:
    """A group of failures, with what a retry would cost and come to.

    Args:
        group: The group.
        outlook: The likely result of another attempt.
        explanation: The same in a sentence.
        price: What another attempt at all that are left may cost, for the button.
        retry_url: The page that confirms the retry; None if nothing is left to retry.
        asked: The retry that makes them again as soon as a worker plans it; None if there is none.
        in_state: The number of the batch's jobs that ended in this state, for whatever reason.
    """

    group: FailureGroup
    outlook: Outlook
    explanation: str
    price: str
    retry_url: str | None
    asked: DoneAction | None
    in_state: int


@dataclass(frozen=True, slots=True)
class ShownFailures:
    """The failures of a batch.

    Args:
        groups: By reason, the most frequent first.
        looked_at: The number of failures in the groups.
        total: The number of all failures.
        complete: Whether the groups have all.
        retry_all_url: The page that confirms a retry of all that failed or expired.
        at: When they were read.
    """

    groups: Sequence[ShownGroup]
    looked_at: int
    total: int
    complete: bool
    retry_all_url: str | None
    at: datetime


def failures_of(transaction: Transaction, batch: str, settings: Settings) -> ShownFailures:
    """The failures of a batch by reason, each with the price of a retry."""
    found = failure_groups(transaction, batch)
    status = batch_status(transaction, batch)
    options = BatchOptions.model_validate(status.options)
    under_way = retries_under_way(transaction, batch) if found.groups else []
    before = found.at.isoformat()
    shown = []
    for group in found.groups:
        reason = {
            "state": group.state.value,
            "error_kind": group.error_kind,
            "error_message": group.error_message,
        }
        likely = outlook(reason)
        url = batch_url(batch, "retry", state=group.state.value, alike=group.reason, before=before)
        asked = next((each for each in under_way if takes(each, group)), None)
        shown.append(
            ShownGroup(
                group,
                likely,
                EXPLANATIONS[likely],
                short_price(price_of(Counter(group.left), options, settings)),
                url if group.to_retry and asked is None else None,
                asked if group.to_retry else None,
                status.counts[group.state.value],
            )
        )
    left = [each for each in shown if each.retry_url and each.outlook is not Outlook.CANCELLED]
    several = len(left) > 1 or (left and not found.complete)
    retry_all = batch_url(batch, "retry", before=before) if several else None
    return ShownFailures(shown, found.looked_at, found.total, found.complete, retry_all, found.at)


@dataclass(frozen=True, slots=True)
class ShownChunk:
    """A chunk as the list shows it.

    Args:
        chunk: The chunk.
        waits_for: What it waits for, in words.
        looks_again_at: When its flow run continues at the latest.
        url: Its flow run's page in Prefect.
    """

    chunk: ChunkRow
    waits_for: str
    looks_again_at: datetime | None
    url: str | None


def chunks_of(
    transaction: Transaction,
    batch: str,
    *,
    after: int = 0,
    state: ChunkState | None = None,
    limit: int = 50,
) -> list[ShownChunk]:
    """Chunks of a batch in their order, with what they wait for; arguments as for `chunk_rows`."""
    brakes = brakes_of(transaction, batch)
    again = waiting_again(transaction, batch)
    return [
        ShownChunk(
            row,
            describe_wait(row, brakes, again.get(row.id, 0)),
            row.wake_at if row.wake_at and row.wake_at > brakes.now else None,
            flow_run_url(row.flow_run_id),
        )
        for row in chunk_rows(transaction, batch, after=after, state=state, limit=limit)
    ]


@dataclass(frozen=True, slots=True)
class ShownChunks:
    """The chunks that are at work, and those that come next.

    Args:
        chunks: Some of them.
        done: The number of chunks that are done.
        total: The number of all chunks.
        growing: Whether one of them takes requests.
    """

    chunks: Sequence[ShownChunk]
    done: int
    total: int
    growing: bool


def chunks_at_work(transaction: Transaction, batch: str) -> ShownChunks:
    """The chunks of a batch that are at work, and those that come next."""
    status = batch_status(transaction, batch)
    found = chunks_of(transaction, batch, state=ChunkState.RELEASED, limit=_AT_WORK_SHOWN)
    found += chunks_of(transaction, batch, state=ChunkState.PLANNED, limit=_NEXT_SHOWN)
    growing = any(each.chunk.growing for each in found)
    return ShownChunks(found, status.chunks_done, status.chunks, growing)
