"""Collect: check the progress of a chunk, and choose the final state of its flow run.

The legs of chunks import this module. It must not import `sources`, which would cost a sixth of a
leg's CPU time.
"""

from collections.abc import Mapping
from dataclasses import asdict

from prefect import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from ittybatch.ittybit.redaction import without_secrets
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.brakes import hold_if_alike
from ittybatch.ledger.chunk_failures import first_failures
from ittybatch.ledger.chunks import ChunkPlace, chunk_of, finish_chunk
from ittybatch.ledger.states import BatchState, ChunkState
from ittybatch.tasks.step import step

_UNSUCCESSFUL = ("failed", "expired", "cancelled")
_LOGGED_FAILURES = 5


@step("brake")
def brake(ledger: Ledger, batch: str) -> None:
    """Hold the batch if nearly all of its newest attempts failed for the same reason."""
    if ledger.write(hold_if_alike, batch):
        get_run_logger().error(
            "Nearly all of the newest attempts failed for the same reason: the batch is held."
        )


@step("collect")
def collect(ledger: Ledger, chunk: int) -> tuple[ChunkPlace, bool]:
    """Mark the chunk done if all its jobs have ended.

    Returns:
        The chunk, and whether its batch is held. A held chunk's run ends; another one continues
        the chunk when the batch is resumed.
    """
    ledger.write(finish_chunk, chunk)
    place = ledger.read(chunk_of, chunk)
    held = ledger.read(read_batch, place.batch_id).state is BatchState.HELD
    logger = get_run_logger()
    logger.info(
        "Chunk %d of %d: %d planned, %d at Ittybit, %d succeeded, %d failed, "
        "%d cancelled, %d expired.",
        place.number,
        place.of,
        place.planned,
        place.in_flight,
        place.succeeded,
        place.failed,
        place.cancelled,
        place.expired,
    )
    if place.state is ChunkState.DONE and (place.failed or place.expired):
        _tell_failures(ledger, chunk, place)
    if held and place.state is not ChunkState.DONE:
        logger.warning(
            "The batch is held. `ittybatch resume %s` continues from here.", place.batch_id
        )
    return place, held


def _tell_failures(ledger: Ledger, chunk: int, place: ChunkPlace) -> None:
    """Log what a person needs who opens the run: the first failures, why, and the command."""
    logger = get_run_logger()
    for failure in ledger.read(first_failures, chunk, _LOGGED_FAILURES):
        logger.warning(
            "%s, %s: %s: %s",
            without_secrets(failure.input),
            failure.rendition,
            failure.state,
            without_secrets(failure.why),
        )
    logger.warning(
        "%d jobs of this chunk did not succeed. `ittybatch failures %s` lists all of the batch, "
        "`ittybatch retry %s` makes them again.",
        place.failed + place.expired,
        place.batch_id,
        place.batch_id,
    )


def chunk_outcome(place: ChunkPlace) -> State[None]:
    """Build the final state of a chunk's run: Completed even if jobs failed."""
    message = with_unsuccessful(f"{place.succeeded:,} jobs succeeded", asdict(place))
    return Completed(message=f"{message}.")


def stopped_outcome(place: ChunkPlace) -> State[None]:
    """Build the final state of a chunk's run in a held batch. The batch's run says why."""
    return Completed(
        message="Its batch is held. Another flow run continues this chunk after "
        f"`ittybatch resume {place.batch_id}`."
    )


def with_unsuccessful(sentence: str, counts: Mapping[str, int]) -> str:
    """Add the numbers of jobs that did not succeed to a sentence."""
    counted = (f"{counts[name]:,} {name}" for name in _UNSUCCESSFUL if counts[name])
    return ", ".join([sentence, *counted])
