"""Outcome of a chunk: the state that its flow run ends in.

A chunk's leg imports this. Nothing here may load a source: that is a sixth of a leg's CPU.
"""

from collections.abc import Mapping
from dataclasses import asdict

from prefect import State
from prefect.states import Completed

from ittybatch.ledger.chunks import ChunkPlace

_BAD = ("failed", "expired", "cancelled")


def chunk_outcome(place: ChunkPlace) -> State[None]:
    """The state of a chunk's run. A chunk has done its work even where jobs failed."""
    return Completed(message=and_bad(f"{place.succeeded:,} jobs succeeded", asdict(place)) + ".")


def stopped_outcome(place: ChunkPlace) -> State[None]:
    """The state of a chunk's run whose batch is held: the batch's own run says why."""
    return Completed(
        message="Its batch is held. Another flow run goes on with this chunk after "
        f"`ittybatch resume {place.batch_id}`."
    )


def and_bad(told: str, counts: Mapping[str, int]) -> str:
    """A sentence with the jobs that did not succeed, where there are any."""
    return ", ".join([told, *(f"{counts[name]:,} {name}" for name in _BAD if counts[name])])
