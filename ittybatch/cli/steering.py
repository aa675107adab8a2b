"""Commands that steer a batch that has begun."""

from ittybatch.cli.output import Batch, Json, console, print_json
from ittybatch.cli.status import COULD_NOT_RUN, SUCCEEDED
from ittybatch.engine.flow_runs import open_flow_runs
from ittybatch.engine.waking import Waker
from ittybatch.ledger import open_ledger
from ittybatch.ledger.batches import cancel_batch, hold_batch, read_batch, resume_batch
from ittybatch.ledger.chunks import restart_runs
from ittybatch.ledger.queries import find_batch
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings


def resume(batch: Batch, *, json: Json = False) -> int:
    """Let a held batch go on from where it stopped; nothing that succeeded is done again."""
    settings = Settings()
    ledger = open_ledger(settings)
    found = ledger.read(find_batch, batch)
    if not ledger.write(resume_batch, found):
        state = ledger.read(read_batch, found).state
        console.print(f"Batch {found} is not held; it is {state.value}.")
        return COULD_NOT_RUN
    owners = ledger.write(restart_runs, found)
    with open_flow_runs() as flow_runs:
        waker = Waker(ledger, flow_runs, lease_s=settings.lease_s)
        made = [flow_run for owner in owners if (flow_run := waker.make(owner))]
    if json:
        print_json({"batch": found, "flow_runs": made})
    else:
        console.print(f"Batch {found} goes on in {len(made)} flow runs.")
    return SUCCEEDED


def cancel(batch: Batch, *, json: Json = False) -> int:
    """Submit nothing more of a batch. Ittybit cannot be told to stop what it has begun."""
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch)
    cancelled, in_flight = ledger.write(cancel_batch, found, "Cancelled by `ittybatch cancel`.")
    if json:
        print_json({"batch": found, "cancelled": cancelled, "in_flight": in_flight})
        return SUCCEEDED
    console.print(f"Batch {found}: {cancelled:,} jobs will not be sent.")
    if in_flight:
        console.print(
            f"{in_flight:,} are at Ittybit already: they may still run, and be billed. "
            "What becomes of them is recorded."
        )
    return SUCCEEDED


def pause(batch: Batch, *, json: Json = False) -> int:
    """Submit nothing more of a batch until `resume`. What Ittybit has goes on, and is recorded."""
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch)
    ledger.write(hold_batch, found, "Paused by `ittybatch pause`.")
    state = ledger.read(read_batch, found).state
    if json:
        print_json({"batch": found, "state": state.value})
    else:
        console.print(f"Batch {found} is {state.value}.")
    return SUCCEEDED if state is BatchState.HELD else COULD_NOT_RUN
