"""Collect: see how far a chunk is, and mark it done when all its jobs have ended."""

from prefect.logging import get_run_logger

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.chunks import ChunkPlace, chunk_of, finish_chunk
from ittybatch.ledger.states import BatchState, ChunkState
from ittybatch.tasks.step import step


@step("collect")
def collect(ledger: Ledger, chunk: int) -> tuple[ChunkPlace, bool]:
    """Mark the chunk done if it is.

    Returns:
        The chunk, and whether its batch is held: then its run ends, and another goes on with
        it once the batch is resumed.
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
    if held and place.state is not ChunkState.DONE:
        logger.warning(
            "The batch is held. `ittybatch resume %s` goes on from here.", place.batch_id
        )
    return place, held
