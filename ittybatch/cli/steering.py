"""Commands that steer a batch."""

import asyncio
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from ittybatch.cli.output import Batch, Json, console, print_json
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.adopting import Adoption, adopt_batch
from ittybatch.engine.connection import connect
from ittybatch.engine.steering import Action, steer
from ittybatch.engine.tuning import Tuning, tune_batch
from ittybatch.ledger import Ledger, open_ledger
from ittybatch.ledger.queries import find_batch
from ittybatch.settings import Settings


def approve(batch: Batch, *, json: Json = False) -> int:
    """Let a batch begin whose plan was saved, or which is above its limit for approval."""
    return _steer(batch, Action.APPROVE, json=json)


def pause(batch: Batch, *, json: Json = False) -> int:
    """Submit nothing more of a batch until `resume`. Jobs at Ittybit go on and are recorded."""
    return _steer(batch, Action.PAUSE, json=json)


def resume(batch: Batch, *, json: Json = False) -> int:
    """Let a held batch go on from where it stopped. Jobs that succeeded are not made again."""
    return _steer(batch, Action.RESUME, json=json)


def cancel(batch: Batch, *, json: Json = False) -> int:
    """Submit nothing more of a batch, for good. Ittybit cannot stop jobs that it has begun."""
    return _steer(batch, Action.CANCEL, json=json)


def tune(
    batch: Batch,
    *,
    changes: Annotated[Tuning, Parameter(name="*", show_default=False)] = Tuning(),  # noqa: B008  frozen
    json: Json = False,
) -> int:
    """Run a batch faster or slower from here on. Options that are not given stay as they are.

    Chunks that are being submitted change within seconds.
    """
    ledger = open_ledger(Settings())
    found = ledger.read(find_batch, batch)
    options = tune_batch(ledger, found, changes)
    if json:
        print_json({"batch": found, "options": options})
    else:
        console.print(f"Batch {found} now runs with:")
        for name, value in sorted(options.items()):
            console.print(f"  {name}: {value}", markup=False)
    return SUCCEEDED


def adopt(batch: Batch, *, json: Json = False) -> int:
    """Record jobs of a batch that Ittybit has already, sent by another ledger.

    For a restored backup, a new laptop, or any ledger that does not know what its Ittybit project
    has made. Each unsent job is looked for by its input, options and destination. A job that has
    succeeded is recorded with its output; one that is running is followed to its end. Nothing is
    sent.
    """
    settings = Settings()
    ledger = open_ledger(settings)
    done = asyncio.run(_adopt(settings, ledger, ledger.read(find_batch, batch)))
    if json:
        print_json({**asdict(done), "adopted": {str(k): n for k, n in done.adopted.items()}})
    else:
        console.print(done.describe(), markup=False)
    return SUCCEEDED


async def _adopt(settings: Settings, ledger: Ledger, batch: str) -> Adoption:
    async with connect(settings) as client:
        return await adopt_batch(ledger, client, batch)


def _steer(batch: str, action: Action, *, json: bool) -> int:
    settings = Settings()
    ledger = open_ledger(settings)
    found = ledger.read(find_batch, batch)
    done = steer(ledger, settings, found, action, by=f"`ittybatch {action.value}`")
    if json:
        print_json({**asdict(done), "state": done.state.value})
    else:
        console.print(done.describe(), markup=False)
    return SUCCEEDED
