"""Outcome: the state that a batch's flow run ends in, and what it tells in a sentence."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prefect import State
from prefect.states import Cancelled, Completed, Failed

from ittybatch.engine.plan_counts import not_submitted
from ittybatch.ledger.batches import OpenBatch
from ittybatch.ledger.control import is_paused
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.states import BatchState
from ittybatch.sources.rules import left_out_by_rule, nothing_left
from ittybatch.tasks.chunk_outcome import and_bad

if TYPE_CHECKING:
    from ittybatch.engine.planning import Preview


def outcome(status: BatchStatus) -> State[None]:
    """The state of a batch's run: Failed only where somebody has to look, and once a batch.

    Prefect's automations, filters and events go by a state's name, so all are Prefect's own.
    """
    summary = f"{summary_of(status)}."
    match status.state:
        case BatchState.SUCCEEDED:
            return Completed(message=summary)
        case BatchState.CANCELLED:
            return Cancelled(message=f"{status.reason or 'Cancelled.'} {summary}")
        case BatchState.HELD:
            goes_on = f"`ittybatch resume {status.id}` goes on, in a new flow run."
            message = f"{status.reason} {goes_on} {summary}"
            # Neither a failure nor complete: what waits for the batch's end must not begin.
            paused = is_paused(status.state, status.reason)
            return Cancelled(message=message) if paused else Failed(message=message)
        case _:
            todo = f"Why, and what to do: `ittybatch failures {status.id}`."
            return Failed(message=f"{summary} {todo}")


def preview_outcome(found: "Preview") -> State[None]:
    """The state of a dry run."""
    return Completed(
        message=f"Dry run: {found.counts['jobs']:,} jobs of {found.counts['items']:,} items would "
        f"be submitted: {_found(found.counts)}."
    )


def unapproved_outcome(batch: OpenBatch) -> State[None]:
    """The state of a run that nobody can answer in place."""
    return Cancelled(
        message=f"Nothing was submitted. {batch.reason} `ittybatch approve {batch.id}` begins the "
        "batch through Prefect."
    )


def superseded_outcome() -> State[None]:
    """The state of a batch's run whose place another has taken."""
    return Cancelled(message="Another flow run goes on with this batch.")


def summary_of(status: BatchStatus) -> str:
    """What a batch came to, or why there was nothing to do."""
    counts = status.counts
    if nothing := nothing_left(status.plan):
        return nothing.removesuffix(".")
    if not counts["jobs"]:
        if status.state is not BatchState.SUCCEEDED:
            return "No job has been planned yet"
        return f"There was nothing new to do: {_found(status.plan)}"
    return and_bad(f"{counts['succeeded']:,} of {counts['jobs']:,} jobs succeeded", counts)


def _found(plan: Mapping[str, int]) -> str:
    told = [f"{plan.get('found', 0):,} items found"]
    if rules := left_out_by_rule(plan):
        each = ", ".join(f"{count:,} {name}" for name, count in rules.items())
        told.append(f"{sum(rules.values()):,} left out by the filters ({each})")
    told += [f"{count:,} jobs {why}" for count, why in not_submitted(plan)]
    return ", ".join(told)
