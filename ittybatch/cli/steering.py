"""Commands that steer a batch."""

from dataclasses import asdict

from ittybatch.cli.output import Batch, Json, console, print_json
from ittybatch.cli.status import SUCCEEDED
from ittybatch.engine.steering import Action, steer
from ittybatch.ledger import open_ledger
from ittybatch.ledger.queries import find_batch
from ittybatch.settings import Settings


def approve(batch: Batch, *, json: Json = False) -> int:
    """Let a batch begin whose plan was saved, or is above what it may cost without asking."""
    return _steer(batch, Action.APPROVE, json=json)


def pause(batch: Batch, *, json: Json = False) -> int:
    """Submit nothing more of a batch until `resume`. What Ittybit has goes on, and is recorded."""
    return _steer(batch, Action.PAUSE, json=json)


def resume(batch: Batch, *, json: Json = False) -> int:
    """Let a held batch go on from where it stopped; nothing that succeeded is done again."""
    return _steer(batch, Action.RESUME, json=json)


def cancel(batch: Batch, *, json: Json = False) -> int:
    """Submit nothing more of a batch. Ittybit cannot be told to stop what it has begun."""
    return _steer(batch, Action.CANCEL, json=json)


def _steer(batch: str, action: Action, *, json: bool) -> int:
    settings = Settings()
    ledger = open_ledger(settings)
    found = ledger.read(find_batch, batch)
    done = steer(ledger, settings, found, action, by=f"`ittybatch {action.value}`")
    if json:
        print_json({**asdict(done), "state": done.state.value})
    else:
        console.print(done.told())
    return SUCCEEDED
