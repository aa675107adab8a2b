"""Commands that steer a batch."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from ittybatch.cli.output import Batch, Json, console, print_json
from ittybatch.cli.recording import operator
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.adopting import adopt as adopt_jobs
from ittybatch.engine.steering import Action, steer
from ittybatch.engine.tuning import Tuning
from ittybatch.ledger import open_ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.queries import find_batch
from ittybatch.settings import Settings


def approve(batch: Batch, *, json: Json = False) -> int:
    """Start a batch that waits for approval: its plan was saved, or is above its limit."""
    return _steer(batch, Action.APPROVE, json=json)


def pause(batch: Batch, *, json: Json = False) -> int:
    """Stop submitting a batch until `resume`. Jobs at Ittybit continue and are recorded."""
    return _steer(batch, Action.PAUSE, json=json)


def resume(batch: Batch, *, json: Json = False) -> int:
    """Continue a held batch where it stopped. Jobs that succeeded are not made again."""
    return _steer(batch, Action.RESUME, json=json)


def cancel(batch: Batch, *, json: Json = False) -> int:
    """Stop submitting a batch permanently. Ittybit cannot stop jobs that have started."""
    return _steer(batch, Action.CANCEL, json=json)


def tune(
    batch: Batch,
    *,
    changes: Annotated[Tuning, Parameter(name="*", show_default=False)] = Tuning(),  # noqa: B008  frozen
    json: Json = False,
) -> int:
    """Change the speed and limits of a running batch. Options not given stay unchanged.

    Chunks that are submitting apply the change within seconds.
    """
    settings = Settings()
    ledger = open_ledger(settings)
    found = ledger.read(find_batch, batch)
    asker = operator()
    steer(ledger, settings, found, Action.TUNE, by=asker.name, via=asker.via, changes=changes)
    options = ledger.read(read_batch, found).options
    if json:
        print_json({"batch": found, "options": options})
    else:
        console.print(f"Batch {found} now runs with:")
        for name, value in sorted(options.items()):
            console.print(f"  {name}: {value}", markup=False)
    return SUCCEEDED


def adopt(batch: Batch, *, json: Json = False) -> int:
    """Record jobs of a batch that another ledger already sent to Ittybit.

    Use this for a restored backup, a new laptop, or any ledger that does not know which jobs its
    Ittybit project has. It looks up each unsent job by input, options and destination. It records
    jobs that have succeeded with their output, and follows running jobs to their end. It sends
    nothing.
    """
    settings = Settings()
    ledger = open_ledger(settings)
    found = ledger.read(find_batch, batch)
    done = adopt_jobs(settings, ledger, found, operator())
    if json:
        print_json({**asdict(done), "adopted": {str(k): n for k, n in done.adopted.items()}})
    else:
        console.print(done.describe(), markup=False)
    return SUCCEEDED


def _steer(batch: str, action: Action, *, json: bool) -> int:
    settings = Settings()
    ledger = open_ledger(settings)
    found = ledger.read(find_batch, batch)
    asker = operator()
    done = steer(ledger, settings, found, action, by=asker.name, via=asker.via)
    if json:
        print_json({**asdict(done), "state": done.state.value})
    else:
        console.print(done.describe(), markup=False)
        if action is Action.PAUSE:
            console.print(f"`ittybatch resume {found}` continues it.", markup=False)
    return SUCCEEDED
