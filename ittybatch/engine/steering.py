"""Steer a batch: approve, pause, resume, cancel, tune."""

from dataclasses import dataclass
from enum import StrEnum

from prefect.settings import get_current_settings

from ittybatch.engine.amounts import format_count
from ittybatch.engine.flow_runs import PrefectUnavailable, open_flow_runs
from ittybatch.engine.tuning import Tuning, tune_batch
from ittybatch.engine.waking import Waker
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import job_totals, read_batch
from ittybatch.ledger.control import approve, cancel_batch, pause_batch, resume_batch
from ittybatch.ledger.runs import unmade_runs
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings


class Action(StrEnum):
    """What an operator can do with a batch."""

    APPROVE = "approve"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    TUNE = "tune"


class CannotSteer(IttybatchError):
    """The batch's state does not allow the action."""


def why_not(action: Action, state: BatchState) -> str | None:
    """Say why a batch in this state does not allow an action; None if it does.

    Args:
        action: The action.
        state: The batch's state.
    """
    if state.ended:
        return "it has ended."
    match action, state:
        case Action.APPROVE, BatchState.UNAPPROVED:
            return None
        case Action.APPROVE, _:
            return "it does not wait for approval."
        case Action.PAUSE, BatchState.HELD:
            return "it is held already."
        case Action.RESUME, BatchState.HELD:
            return None
        case Action.RESUME, _:
            return "it is not held."
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Steered:
    """The result of an action.

    Args:
        batch: The batch's id.
        state: The batch's state after the action.
        cancelled: Jobs that will not be sent.
        in_flight: Jobs at Ittybit, which may still run and be billed.
        flow_runs: Flow runs that were created to continue it.
    """

    batch: str
    state: BatchState
    cancelled: int = 0
    in_flight: int = 0
    flow_runs: tuple[str, ...] = ()

    def describe(self) -> str:
        """Describe the result for people."""
        lines = [f"Batch {self.batch} is {self.state.value}."]
        if self.state is BatchState.HELD:
            lines.append(f"`ittybatch resume {self.batch}` continues it.")
        if self.cancelled:
            lines.append(f"{format_count(self.cancelled, 'job')} will not be sent.")
        if self.in_flight and self.state is not BatchState.RUNNING:
            lines.append(
                f"{self.in_flight:,} are at Ittybit already: they may still run, and be "
                "billed. Their results are recorded."
            )
        if self.flow_runs:
            lines.append(f"It continues in {len(self.flow_runs)} flow runs.")
        return " ".join(lines)


def steer(
    ledger: Ledger,
    settings: Settings,
    batch: str,
    action: Action,
    *,
    by: str,
    changes: Tuning | None = None,
) -> Steered:
    """Approve, pause, resume, cancel or tune a batch.

    Args:
        ledger: The ledger that has the batch.
        settings: Supplies the lease of a leg.
        batch: The batch's id.
        action: The action.
        by: Who requested it, for the batch's record.
        changes: The new values, for `tune`.

    Raises:
        CannotTune: The changes are invalid for this batch.
        CannotSteer: The batch's state does not allow the action.
        PrefectUnavailable: Prefect does not answer. The ledger has changed anyway. The flow runs
            are created when Prefect answers again.
    """
    match action:
        case Action.APPROVE:
            if not ledger.write(approve, batch):
                state = ledger.read(read_batch, batch).state
                held = state is BatchState.HELD
                raise CannotSteer(
                    f"Batch {batch} does not wait for approval; it is {state.value}.",
                    remedy=f"`ittybatch resume {batch}` continues it." if held else None,
                )
            return _result(ledger, batch, None, _continue_batch(ledger, settings, batch))
        case Action.PAUSE:
            ledger.write(pause_batch, batch, by)
            return _result(ledger, batch, BatchState.HELD)
        case Action.RESUME:
            if not ledger.write(resume_batch, batch):
                state = ledger.read(read_batch, batch).state
                raise CannotSteer(f"Batch {batch} is not held; it is {state.value}.")
            return _result(ledger, batch, None, _continue_batch(ledger, settings, batch))
        case Action.CANCEL:
            cancelled, _ = ledger.write(cancel_batch, batch, f"Cancelled by {by}.")
            flow_runs = _collect_results(ledger, settings, batch)
            return _result(ledger, batch, BatchState.CANCELLED, flow_runs, cancelled=cancelled)
        case Action.TUNE:
            tune_batch(ledger, batch, changes or Tuning())
            return _result(ledger, batch, None)


def _continue_batch(ledger: Ledger, settings: Settings, batch: str) -> tuple[str, ...]:
    with open_flow_runs() as flow_runs:
        waker = Waker(ledger, flow_runs, lease_s=settings.lease_s)
        waker.replace_dead(batch)
        return tuple(waker.make_missing(batch))


def _collect_results(ledger: Ledger, settings: Settings, batch: str) -> tuple[str, ...]:
    """Create the flow runs that collect the results of a cancelled batch.

    If Prefect does not answer, the waker creates them later: cancelling does not need Prefect.
    """
    if get_current_settings().api.url is None or not ledger.read(unmade_runs, batch):
        return ()
    try:
        return _continue_batch(ledger, settings, batch)
    except PrefectUnavailable:
        return ()


def _result(
    ledger: Ledger,
    batch: str,
    wanted: BatchState | None,
    flow_runs: tuple[str, ...] = (),
    *,
    cancelled: int = 0,
) -> Steered:
    state = ledger.read(read_batch, batch).state
    if wanted is not None and state is not wanted:
        raise CannotSteer(f"Batch {batch} has ended already: it is {state.value}.")
    in_flight = ledger.read(job_totals, batch)["in_flight"]
    return Steered(batch, state, cancelled, in_flight, flow_runs)
