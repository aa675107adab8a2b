"""Choose the final state of a batch's flow run, with one sentence about the batch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prefect import State
from prefect.states import Cancelled, Completed, Crashed, Failed

from ittybatch.engine.plan_counts import not_submitted
from ittybatch.engine.summary import BatchFailed, BatchStopped, BatchSummary, summarise
from ittybatch.ledger.control import is_paused
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.states import BatchState
from ittybatch.sources.rules import left_out_by_rule, nothing_left
from ittybatch.tasks.collect import with_unsuccessful

if TYPE_CHECKING:
    from ittybatch.engine.planning import Preview


def outcome(status: BatchStatus) -> State[BatchSummary]:
    """Build the final state of a batch's run: Failed only if someone has to act, once per batch.

    Prefect's automations, filters and events use the names of states, so all names are Prefect's
    own. Completed returns the summary to a direct caller. The other states raise an exception that
    contains it.
    """
    sentence = f"{summary_of(status)}."
    match status.state:
        case BatchState.SUCCEEDED:
            return Completed(message=sentence, data=summarise(status))
        case BatchState.CANCELLED:
            return _stopped(f"{status.reason or 'Cancelled.'} {sentence}", status)
        case BatchState.HELD:
            resume = f"`ittybatch resume {status.id}` continues, in a new flow run."
            message = f"{status.reason} {resume} {sentence}"
            # A paused batch has neither failed nor completed: runs that wait for its end must not
            # start.
            if is_paused(status.state, status.reason):
                return _stopped(message, status)
            return _failed(message, status)
        case _:
            todo = f"Why, and what to do: `ittybatch failures {status.id}`."
            return _failed(f"{sentence} {todo}", status)


def _failed(message: str, status: BatchStatus) -> State[BatchSummary]:
    return Failed(message=message, data=BatchFailed(message, summarise(status)))


def _stopped(message: str, status: BatchStatus) -> State[BatchSummary]:
    return Cancelled(message=message, data=BatchStopped(message, summarise(status)))


def preview_outcome(found: "Preview") -> State[BatchSummary]:
    """Build the final state of a dry run."""
    return Completed(
        message=f"Dry run: {found.counts['jobs']:,} jobs of {found.counts['items']:,} items would "
        f"be submitted: {_found(found.counts)}.",
        data=BatchSummary(id=None, state=None, counts={"items": 0, "jobs": 0, **found.counts}),
    )


def unapproved_outcome(status: BatchStatus) -> State[BatchSummary]:
    """Build the final state of a direct call, whose plan cannot be approved in the Prefect UI."""
    return _stopped(
        f"Nothing was submitted. {status.reason} `ittybatch approve {status.id}` starts the "
        "batch through Prefect.",
        status,
    )


def superseded_outcome() -> State[BatchSummary]:
    """Build the final state of a run that another run has replaced.

    Not Cancelled: a waker that sees such a run takes it for an operator's cancel of the batch.
    """
    return Crashed(message="Another flow run continues this batch.")


def summary_of(status: BatchStatus) -> str:
    """Summarise a batch in one sentence, or say why there was nothing to do."""
    counts = status.counts
    if nothing := nothing_left(status.plan):
        return nothing.removesuffix(".")
    if not counts["jobs"]:
        if status.state is not BatchState.SUCCEEDED:
            return "No job has been planned yet"
        return f"There was nothing new to do: {_found(status.plan)}"
    return with_unsuccessful(
        f"{counts['succeeded']:,} of {counts['jobs']:,} jobs succeeded", counts
    )


def _found(plan: Mapping[str, int]) -> str:
    text = [f"{plan.get('found', 0):,} items found"]
    if rules := left_out_by_rule(plan):
        each = ", ".join(f"{count:,} {name}" for name, count in rules.items())
        text.append(f"{sum(rules.values()):,} left out by the filters ({each})")
    text += [f"{count:,} jobs {why}" for count, why in not_submitted(plan)]
    return ", ".join(text)
