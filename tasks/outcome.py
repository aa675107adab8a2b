"""Outcome: the state that a flow run ends in, and what it tells in a sentence.

A chunk's leg imports this. Nothing here may load a source: that is a sixth of a leg's CPU.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from prefect import State
from prefect.states import Cancelled, Completed, Failed

from ittybatch.ledger.batches import OpenBatch
from ittybatch.ledger.chunks import ChunkPlace
from ittybatch.ledger.queries import BatchStatus
from ittybatch.ledger.states import BatchState
from ittybatch.sources.rules import left_out_by_rule, nothing_left

if TYPE_CHECKING:
    from ittybatch.engine.planning import Preview

_NOT_NEW = (
    ("already_done", "done before"),
    ("already_there", "at their destination already"),
    ("in_flight_elsewhere", "in flight in another batch"),
    ("held_back", "held back: failed for good, or given up"),
)
_BAD = ("failed", "expired", "cancelled")


def outcome(status: BatchStatus) -> State[None]:
    """The state that tells all-succeeded from some-failed."""
    told = f"{summary_of(status)}."
    match status.state:
        case BatchState.SUCCEEDED:
            return Completed(message=told)
        case BatchState.CANCELLED:
            return Cancelled(message=f"{status.reason or 'Cancelled.'} {told}")
        case BatchState.HELD:
            return Failed(
                name="Held",
                message=f"{status.reason} Then: `ittybatch resume {status.id}`. {told}",
            )
        case _:
            return Failed(
                name="SomeFailed",
                message=f"{told} Why: `ittybatch failures {status.id}`. "
                f"Again: `ittybatch retry {status.id}`.",
            )


def preview_outcome(found: "Preview") -> State[None]:
    """The state of a dry run."""
    return Completed(
        name="DryRun",
        message=f"{found.counts['jobs']:,} jobs of {found.counts['items']:,} items would be "
        f"submitted: {_found(found.counts)}.",
    )


def unapproved_outcome(batch: OpenBatch) -> State[None]:
    """The state of a run that nobody can answer in place."""
    return Completed(
        name="Unapproved",
        message=f"{batch.reason} `ittybatch approve {batch.id}` begins it through Prefect.",
    )


def chunk_outcome(place: ChunkPlace) -> State[None]:
    """The state of a chunk's run. A chunk has done its work even where jobs failed."""
    bad = place.failed + place.expired + place.cancelled
    return Completed(
        name="SomeFailed" if bad else "Completed",
        message=_and_bad(f"{place.succeeded:,} jobs succeeded", asdict(place)) + ".",
    )


def summary_of(status: BatchStatus) -> str:
    """What a batch came to, or why there was nothing to do."""
    counts = status.counts
    if nothing := nothing_left(status.plan):
        return nothing.removesuffix(".")
    if not counts["jobs"]:
        return f"There was nothing new to do: {_found(status.plan)}"
    return _and_bad(f"{counts['succeeded']:,} of {counts['jobs']:,} jobs succeeded", counts)


def _found(plan: Mapping[str, int]) -> str:
    told = [f"{plan.get('found', 0):,} items found"]
    if rules := left_out_by_rule(plan):
        each = ", ".join(f"{count:,} {name}" for name, count in rules.items())
        told.append(f"{sum(rules.values()):,} left out by the filters ({each})")
    told += [f"{count:,} jobs {how}" for name, how in _NOT_NEW if (count := plan.get(name))]
    return ", ".join(told)


def _and_bad(told: str, counts: Mapping[str, int]) -> str:
    return ", ".join([told, *(f"{counts[name]:,} {name}" for name in _BAD if counts[name])])
