"""Steer a batch: approve, pause, resume, cancel, tune."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from prefect.settings import get_current_settings

from ittybatch.engine.amounts import format_count
from ittybatch.engine.flow_runs import PrefectUnavailable, open_flow_runs, require_prefect
from ittybatch.engine.tuning import CannotTune, Tuning, tune_batch
from ittybatch.engine.waking import Waker
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.actions import PARTLY, Asker, OwnRecord, Via, end_action, record_action
from ittybatch.ledger.batches import job_totals, read_batch
from ittybatch.ledger.control import approve, cancel_batch, pause_batch, resume_batch
from ittybatch.ledger.runs import unmade_runs
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings

# Told when Prefect does not answer after the ledger has changed.
FLOW_RUNS_LATER = (
    "Prefect did not answer, so the flow runs that continue it do not exist yet. The receiver "
    "creates them when Prefect answers again."
)


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
    match action:
        case Action.APPROVE if state is not BatchState.UNAPPROVED:
            return "it does not wait for approval."
        case Action.PAUSE if state is BatchState.HELD:
            return "it is held already."
        case Action.RESUME if state is not BatchState.HELD:
            return "it is not held."
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
        changed: The options that were changed, each with its new value.
        record: Number of the action's record.
    """

    batch: str
    state: BatchState
    cancelled: int = 0
    in_flight: int = 0
    flow_runs: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    record: int | None = None

    def describe(self) -> str:
        """Describe the result for people."""
        lines = [f"Batch {self.batch} is {self.state.value}."]
        if self.changed:
            lines.append(f"Changed: {', '.join(self.changed)}.")
        elif self.state is BatchState.HELD:
            lines.append("Nothing more is sent until it is resumed.")
        if self.cancelled:
            lines.append(f"{format_count(self.cancelled, 'job')} will not be sent.")
        if self.in_flight and self.state is not BatchState.RUNNING:
            lines.append(
                f"{format_count(self.in_flight, 'job')} at Ittybit already may still run, and be "
                "billed. The results are recorded."
            )
        if self.flow_runs:
            lines.append(f"It continues in {format_count(len(self.flow_runs), 'flow run')}.")
        return " ".join(lines)


def steer(
    ledger: Ledger,
    settings: Settings,
    batch: str,
    action: Action,
    *,
    by: str,
    via: Via,
    changes: Tuning | None = None,
    collects: bool = True,
) -> Steered:
    """Approve, pause, resume, cancel or tune a batch, and record that somebody asked for it.

    Args:
        ledger: The ledger that has the batch.
        settings: Supplies the lease of a leg.
        batch: The batch's id.
        action: The action.
        by: Who requested it.
        via: The way they did.
        changes: The new values, for `tune`.
        collects: Whether a cancel waits for Prefect to create the flow runs that collect the
            results. Otherwise the waker creates them.

    Raises:
        CannotTune: The changes are invalid for this batch.
        CannotSteer: The batch's state does not allow the action.
        PrefectUnavailable: Prefect does not answer. The ledger has changed anyway. The flow runs
            are created when Prefect answers again.
    """
    done = change_batch(ledger, batch, action, Asker(by, via), changes or Tuning())
    if action is Action.CANCEL and not collects:
        return done
    try:
        return _follow_up(ledger, settings, action, done)
    except PrefectUnavailable as error:
        text = f"{done.describe()} {FLOW_RUNS_LATER}"
        if done.record is not None:
            ledger.write(end_action, done.record, text, refused=False, details={PARTLY: True})
        # Whoever reads only that Prefect does not answer would ask again, and be refused.
        partly = PrefectUnavailable(
            f"{text} {error.message}", remedy=error.remedy, status=error.status
        )
        partly.record = done.record
        raise partly from error


def change_batch(
    ledger: Ledger, batch: str, action: Action, asker: Asker, changes: Tuning
) -> Steered:
    """Change a batch in the ledger and record that; ask nothing of Prefect.

    Args:
        ledger: The ledger that has the batch.
        batch: The batch's id.
        action: The action.
        asker: Who asks for it.
        changes: The new values, for `tune`.

    Raises:
        CannotTune: The changes are invalid for this batch.
        CannotSteer: The batch's state does not allow the action.
    """
    lever = _Lever(batch, action, asker, changes)
    try:
        return ledger.write(lever.pull)
    except (CannotSteer, CannotTune) as error:
        if (done := ledger.read(lever.committed)) is not None:
            return done
        error.record = ledger.write(lever.refuse, str(error))
        raise


def _follow_up(ledger: Ledger, settings: Settings, action: Action, done: Steered) -> Steered:
    """Create the flow runs that a batch needs after an action."""
    batch = done.batch
    match action:
        case Action.APPROVE | Action.RESUME:
            return replace(done, flow_runs=_continue_batch(ledger, settings, batch))
        case Action.CANCEL:
            return replace(done, flow_runs=_collect_results(ledger, settings, batch))
        case Action.PAUSE | Action.TUNE:
            return done


@dataclass(slots=True)
class _Lever:
    """One action on a batch: what changes the ledger, and the record of it, in a transaction.

    A transaction whose COMMIT got no answer is repeated: it changes nothing a second time.
    """

    batch: str
    action: Action
    asker: Asker
    changes: Tuning
    done: Steered | None = None
    own: OwnRecord = field(default_factory=OwnRecord)

    def pull(self, transaction: Transaction) -> Steered:
        """Change the batch, and record that.

        Raises:
            CannotSteer: The batch's state does not allow the action.
            CannotTune: The changes are invalid for this batch.
        """
        if (done := self.committed(transaction)) is not None:
            return done
        cancelled = self._change(transaction)
        state = read_batch(transaction, self.batch).state
        wanted = _RESULTS.get(self.action, state)
        if state is not wanted:
            raise CannotSteer(f"Batch {self.batch} has ended already: it is {state.value}.")
        in_flight = job_totals(transaction, self.batch)["in_flight"]
        options = read_batch(transaction, self.batch).options
        changed = tuple(
            f"{Tuning.model_fields[name].title}: {options.get(name, 'no limit')}"
            for name in self.changes.model_dump(exclude_none=True)
        )
        done = Steered(self.batch, state, cancelled, in_flight, changed=changed)
        number = self._record(transaction, done.describe(), refused=False)
        self.done = replace(done, record=number)
        return self.done

    def committed(self, transaction: Transaction) -> Steered | None:
        """Return the result of an earlier try, if its COMMIT was made after all."""
        return self.done if self.own.is_committed(transaction) else None

    def refuse(self, transaction: Transaction, why: str) -> int:
        """Record that the action was refused, and why."""
        if self.own.number is not None and self.own.is_committed(transaction):
            return self.own.number
        return self._record(transaction, why, refused=True)

    def _record(self, transaction: Transaction, outcome: str, *, refused: bool) -> int:
        number = record_action(
            transaction,
            actor=self.asker.name,
            via=self.asker.via,
            action=self.action.value,
            outcome=outcome,
            batch=self.batch,
            details=self.changes.model_dump(mode="json", exclude_none=True),
            refused=refused,
        )
        return self.own.note(transaction, number)

    def _change(self, transaction: Transaction) -> int:
        """Change the batch; return how many jobs were cancelled."""
        batch, name = self.batch, self.asker.name
        match self.action:
            case Action.APPROVE:
                if not approve(transaction, batch):
                    raise _not_waiting(batch, read_batch(transaction, batch).state)
            case Action.PAUSE:
                pause_batch(transaction, batch, name)
            case Action.RESUME:
                if not resume_batch(transaction, batch):
                    state = read_batch(transaction, batch).state
                    raise CannotSteer(f"Batch {batch} is not held; it is {state.value}.")
            case Action.CANCEL:
                return cancel_batch(transaction, batch, f"Cancelled by {name}.")[0]
            case Action.TUNE:
                tune_batch(transaction, batch, self.changes)
        return 0


_RESULTS = {Action.PAUSE: BatchState.HELD, Action.CANCEL: BatchState.CANCELLED}


def _not_waiting(batch: str, state: BatchState) -> CannotSteer:
    return CannotSteer(
        f"Batch {batch} does not wait for approval; it is {state.value}.",
        remedy=f"`ittybatch resume {batch}` continues it." if state is BatchState.HELD else None,
    )


def _continue_batch(ledger: Ledger, settings: Settings, batch: str) -> tuple[str, ...]:
    require_prefect()
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
