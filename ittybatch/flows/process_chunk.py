"""A chunk: submit due jobs, suspend until they have ended or a retry is due, repeat."""

from typing import Annotated

from prefect import State, flow
from prefect.states import Completed
from pydantic import Field

from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.legs import Ending
from ittybatch.ledger.states import ChunkState
from ittybatch.tasks.collect import brake, chunk_outcome, collect, stopped_outcome
from ittybatch.tasks.leg import at_work, leave, settings_and_ledger
from ittybatch.tasks.poll import poll
from ittybatch.tasks.step import ends_quietly
from ittybatch.tasks.submit import submit
from ittybatch.tasks.wait import wait

# Not in `parameters`, which imports the sources: the legs of chunks start faster without them.
ChunkId = Annotated[
    int,
    Field(json_schema_extra={"title": "Chunk", "description": "The chunk's id in the ledger."}),
]


@flow(name="process-chunk", description=__doc__)
@ends_quietly
def process_chunk(chunk_id: ChunkId) -> State[None]:
    """Run a chunk, or one leg of it. Each leg reads the state from the ledger."""
    with (
        settings_and_ledger() as (settings, ledger),
        at_work(ledger, chunk_owner(chunk_id), settings.lease_s) as first,
    ):
        leg = first
        while leg is not None:
            poll(ledger, settings, chunk_id)
            brake(ledger, leg.batch_id)
            submit(ledger, settings, chunk_id, leg)
            place, held = collect(ledger, chunk_id)
            if place.state is ChunkState.DONE:
                return chunk_outcome(place)
            if held:
                if leave(ledger, settings, leg) is Ending.GO_ON:
                    continue
                return stopped_outcome(place)
            leg = wait(ledger, settings, leg, chunk=chunk_id)
        return Completed(message="Another flow run continues this chunk.")
