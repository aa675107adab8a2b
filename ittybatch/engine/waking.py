"""Waking: ready runs are called until they say that they are awake; lost ones are replaced."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime

from prefect.client.schemas.objects import StateType

from ittybatch.engine.alerting import show_held
from ittybatch.engine.flow_runs import (
    BATCH_DEPLOYMENT,
    CHUNK_DEPLOYMENT,
    FlowRuns,
    RunStatus,
)
from ittybatch.ledger import Ledger, Transaction, identity, runs
from ittybatch.ledger.batches import cancel_batch, cancel_chunk, hold_batch, read_batch
from ittybatch.ledger.chunks import chunk_of
from ittybatch.ledger.runs import OwnedRun
from ittybatch.ledger.states import RunState

# The automation answers in well under a second when it is well; past this we do its work.
_PATIENCE_S = 4.0
# A process needs a few seconds from Pending to its first line in the ledger.
_SLOWEST_START_S = 60.0
_NOT_MADE_AFTER_S = 5.0
# Runs that queue for a worker are silent too: asking after them each second buys nothing.
_LOOKS_A_LEASE = 4
# A run that fails so often before its first wait will fail again: somebody has to look.
_MOST_STUMBLES = 5


@dataclass(slots=True)
class Woken:
    """What one round of waking did, by owners."""

    called: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def by_kind(self) -> list[tuple[str, list[str]]]:
        """What was done, and to which owners."""
        return [(each.name, getattr(self, each.name)) for each in fields(self)]


class Waker:
    """Looks after the flow runs of batches and chunks.

    Several may work on one ledger at once: a run called twice wakes once, and of two that
    would replace a run one does.

    Args:
        ledger: What says which runs are ready.
        flow_runs: Prefect.
        lease_s: Seconds without a sign of life after which a leg is taken for dead.
    """

    def __init__(self, ledger: Ledger, flow_runs: FlowRuns, *, lease_s: float) -> None:
        self._ledger = ledger
        self._flow_runs = flow_runs
        self._lease_s = lease_s
        self._looked_at = -math.inf

    def round(self) -> Woken:
        """Wake what is ready, make what is missing, replace what is dead.

        Asks nothing of Prefect when there is nothing to do.

        Raises:
            PrefectUnavailable: when Prefect does not answer. The next round goes on.
            LedgerUnavailable: when the database does not.
        """
        woken = Woken()
        for run in self._ledger.read(runs.unbound_runs, _NOT_MADE_AFTER_S):
            self.make(run.owner)
            woken.made.append(run.owner)
        self._wake(self._ledger.read(runs.ready_runs), woken)
        if time.monotonic() - self._looked_at >= self._lease_s / _LOOKS_A_LEASE:
            self._looked_at = time.monotonic()
            self._look_after(self._ledger.read(runs.silent_runs, self._lease_s), woken)
            # A batch cancelled in the UI is to stop soon, not at its next chunk's end.
            self._check(self._ledger.read(runs.waiting_runs, batches_only=True), woken)
        return woken

    def check_waiting(self) -> Woken:
        """Look at every run that waits, ready or not, for those that ended behind our back."""
        woken = Woken()
        self._check(self._ledger.read(runs.waiting_runs), woken)
        return woken

    def _check(self, waiting: Sequence[OwnedRun], woken: Woken) -> None:
        waiting = [run for run in waiting if run.flow_run_id]
        statuses = self._statuses(waiting)
        for run in waiting:
            status = statuses.get(run.flow_run_id or "")
            if status is None or status.ended:
                self._replace(run, status, woken)

    def make(self, owner: str) -> str | None:
        """Make the flow run that an owner is waiting for. The same run, however often.

        Returns:
            The flow run's id, or None where the owner needs none any more.
        """
        run = self._ledger.read(runs.read_run, owner)
        if run is None or run.state is not RunState.STARTING:
            return None
        order = self._ledger.read(_order, run)
        flow_run = self._flow_runs.make(
            order.deployment,
            parameters=order.parameters,
            name=order.name,
            tags=[f"batch:{run.batch_id}"],
            # With the batch in it: another ledger counts its chunks from 1 too.
            idempotency_key=f"{run.batch_id}:{owner}:{run.generation}",
        )
        self._ledger.write(runs.bind_run, owner, run.generation, flow_run)
        return flow_run

    def _wake(self, ready: Sequence[OwnedRun], woken: Woken) -> None:
        ready = [run for run in ready if run.flow_run_id]
        if not ready:
            return
        statuses = self._statuses(ready)
        call: list[OwnedRun] = []
        for run in ready:
            status = statuses.get(run.flow_run_id or "")
            if status is not None and status.suspended:
                if run.called_at is None:
                    call.append(run)
                elif _age_s(run.called_at, self._now()) >= _PATIENCE_S:
                    self._resume(run, woken)
            elif self._dead(status):
                self._replace(run, status, woken)
        if call:
            self._flow_runs.call([run.flow_run_id or "" for run in call])
            owners = [run.owner for run in call]
            self._ledger.write(runs.note_call, owners)
            woken.called.extend(owners)

    def _resume(self, run: OwnedRun, woken: Woken) -> None:
        if self._flow_runs.resume(run.flow_run_id or ""):
            woken.resumed.append(run.owner)
        self._ledger.write(runs.note_call, [run.owner])

    def _look_after(self, silent: Sequence[OwnedRun], woken: Woken) -> None:
        bound = [run for run in silent if run.flow_run_id]
        if not bound:
            return
        statuses = self._statuses(bound)
        for run in bound:
            status = statuses.get(run.flow_run_id or "")
            awake = run.state is RunState.AWAKE
            if self._dead(status) or (awake and status and status.type is StateType.RUNNING):
                self._replace(run, status, woken)

    def _dead(self, status: RunStatus | None) -> bool:
        """Whether nothing will come of a run that should be working."""
        if status is None or status.ended:
            return True
        working = status.type in {StateType.PENDING, StateType.RUNNING}
        return working and status.age_s() >= max(self._lease_s, _SLOWEST_START_S)

    def _replace(self, run: OwnedRun, status: RunStatus | None, woken: Woken) -> None:
        cancelled = status is not None and status.type in {
            StateType.CANCELLED,
            StateType.CANCELLING,
        }
        if cancelled:
            self._ledger.write(_cancel, run)
            woken.cancelled.append(run.owner)
        if self._ledger.read(_in_place, run):
            self._ledger.write(_strand, run)
            show_held(self._ledger, self._flow_runs, run.batch_id)
            return
        if run.stumbles >= _MOST_STUMBLES:
            self._ledger.write(_give_up_on, run, status)
            show_held(self._ledger, self._flow_runs, run.batch_id)
            return
        if not self._ledger.write(runs.replace_run, run.owner, run.generation):
            return
        if status is not None and not status.ended and run.flow_run_id:
            self._flow_runs.give_up(
                run.flow_run_id, "Its process went silent; ittybatch has made another run."
            )
        self.make(run.owner)
        woken.replaced.append(run.owner)

    def _statuses(self, owned: Sequence[OwnedRun]) -> dict[str, RunStatus]:
        ids = [run.flow_run_id for run in owned if run.flow_run_id]
        return self._flow_runs.statuses(ids) if ids else {}

    def _now(self) -> datetime:
        return self._ledger.read(lambda transaction: transaction.now)


@dataclass(frozen=True, slots=True)
class _Order:
    """What to ask Prefect for."""

    deployment: str
    parameters: dict[str, object]
    name: str


def _order(transaction: Transaction, run: OwnedRun) -> _Order:
    batch = read_batch(transaction, run.batch_id)
    number = identity.owned_chunk(run.owner)
    if number is not None:
        chunk = chunk_of(transaction, number)
        return _Order(
            CHUNK_DEPLOYMENT,
            {"chunk_id": number},
            f"{batch.id} chunk {chunk.number} of {chunk.of}",
        )
    return _Order(
        run.deployment_id or BATCH_DEPLOYMENT,
        {
            "source": dict(batch.source),
            "profile": str(batch.profile["name"]),
            "options": {**batch.options, "go_on_with": batch.id},
        },
        f"{batch.name} (goes on)",
    )


def _in_place(transaction: Transaction, run: OwnedRun) -> bool:
    """Whether the batch was run by a direct call, which no deployment can take up."""
    owner = runs.read_run(transaction, identity.batch_owner(run.batch_id))
    return owner is not None and owner.deployment_id is None and owner.generation == 0


def _strand(transaction: Transaction, run: OwnedRun) -> None:
    hold_batch(
        transaction,
        run.batch_id,
        "The process that ran it in place is gone. "
        f"`ittybatch resume {run.batch_id}` goes on with it through Prefect.",
    )
    runs.end_runs(transaction, run.batch_id)


def _give_up_on(transaction: Transaction, run: OwnedRun, status: RunStatus | None) -> None:
    last = (status.message if status else None) or "no reason given"
    hold_batch(
        transaction,
        run.batch_id,
        f"The flow runs of {run.owner} ended {run.stumbles + 1} times in a row without "
        f"getting on; the last: {last[:500]}",
    )
    runs.end_runs(transaction, run.batch_id)


def _cancel(transaction: Transaction, run: OwnedRun) -> None:
    """Take a cancel in Prefect for what it says: nothing more is sent."""
    chunk = identity.owned_chunk(run.owner)
    if chunk is None:
        cancel_batch(transaction, run.batch_id, "Its flow run was cancelled in Prefect.")
    else:
        cancel_chunk(transaction, chunk, "Its flow run was cancelled in Prefect.")


def _age_s(then: datetime, now: datetime) -> float:
    return (now - then).total_seconds()
