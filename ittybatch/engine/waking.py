"""Waking: ready runs are called until they say that they are awake; lost ones are replaced.

One owner's trouble is its own: it is counted, tried again later, and in the end its batch is
held. All others go on being woken.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime

import httpx
from prefect.client.schemas.objects import StateType

from ittybatch.engine.alerting import show_held
from ittybatch.engine.flow_runs import FlowRuns, NoDeployment, PrefectUnavailable, RunStatus
from ittybatch.engine.orders import Order, order_for
from ittybatch.ledger import Ledger, Transaction, identity, runs
from ittybatch.ledger.control import cancel_batch, cancel_chunk
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.runs import OwnedRun
from ittybatch.ledger.states import RunState
from ittybatch.ledger.stopping import Stopped, give_up, suspended_in_prefect
from ittybatch.ledger.sweep import sweep

logger = logging.getLogger(__name__)

# The automation answers in well under a second when it is well; past this we do its work.
_PATIENCE_S = 4.0
# A process needs a few seconds from Pending to its first line in the ledger, and from its
# first word of waiting to its suspension.
_SLOWEST_START_S = 60.0
_NOT_MADE_AFTER_S = 5.0
# Runs that queue for a worker are silent too: asking after them each second buys nothing.
_LOOKS_A_LEASE = 4
# These are no fault of the run that was asked for.
_REFUSES_ANYBODY = {
    httpx.codes.UNAUTHORIZED,
    httpx.codes.FORBIDDEN,
    httpx.codes.REQUEST_TIMEOUT,
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.SERVICE_UNAVAILABLE,
}
_LONGEST_REASON = 500
# Prefect has been asked to resume it for two minutes by then, and has not.
_MOST_CALLS = 30


@dataclass(slots=True)
class Woken:
    """What one round of waking did, by owners."""

    called: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    troubled: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)

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
        self._each(self._ledger.read(runs.unbound_runs, _NOT_MADE_AFTER_S), self._make, woken)
        self._wake(self._ledger.read(runs.ready_runs), woken)
        if time.monotonic() - self._looked_at >= self._lease_s / _LOOKS_A_LEASE:
            self._looked_at = time.monotonic()
            self._look_after(self._ledger.read(runs.silent_runs, self._lease_s), woken)
            self._watch(self._ledger.read(runs.working_runs), woken)
            # A batch cancelled in the UI is to stop soon, not at its next chunk's end.
            self._check(self._ledger.read(runs.waiting_runs, batches_only=True), woken)
            self._mend(woken)
        return woken

    def check_waiting(self) -> Woken:
        """Look at every run that waits, ready or not, for those that ended behind our back."""
        woken = Woken()
        self._check(self._ledger.read(runs.waiting_runs), woken)
        return woken

    def make_missing(self, batch: str) -> list[str]:
        """Make the flow runs that a batch and its chunks are waiting for.

        Returns:
            The flow runs' ids.

        Raises:
            PrefectUnavailable: when Prefect does not answer; a later round makes them.
        """
        made: list[str] = []

        def make(run: OwnedRun, _woken: Woken) -> None:
            if flow_run := self.make(run.owner):
                made.append(flow_run)

        self._each(self._ledger.read(runs.unmade_runs, batch), make, Woken())
        return made

    def replace_dead(self, batch: str) -> None:
        """Give up the runs of a batch whose processes are gone, without waiting for a lease.

        For a batch that was just resumed: what is left to it may have died while it was held.

        Raises:
            PrefectUnavailable: when Prefect does not answer; a later round finds them.
        """
        live = self._ledger.read(runs.live_runs, batch)
        statuses, now = self._statuses(live), self._now()

        def bury(run: OwnedRun, _woken: Woken) -> None:
            status = statuses.get(run.flow_run_id or "")
            if run.state is RunState.AWAKE:
                # A beating heart is believed over Prefect, which may not know of the process.
                silent = _age_s(run.heartbeat_at, now) >= self._lease_s
                dead = silent or (status is not None and status.ended)
            else:
                dead = _dead(status, run, now, self._lease_s)
            if dead:
                self._succeed(run, status)

        self._each(live, bury, Woken())

    def make(self, owner: str) -> str | None:
        """Make the flow run that an owner is waiting for. The same run, however often.

        Returns:
            The flow run's id, or None where the owner needs none any more.

        Raises:
            PrefectUnavailable: when Prefect does not answer, or refuses.
        """
        run = self._ledger.write(runs.run_to_make, owner)
        if run is None:
            return None
        order = self._ledger.read(order_for, run)
        try:
            flow_run = self._ask_for(order.deployment, order, run)
        except NoDeployment:
            if order.fallback == order.deployment:
                raise
            flow_run = self._ask_for(order.fallback, order, run)
        self._ledger.write(runs.bind_run, owner, run.generation, flow_run)
        return flow_run

    def _ask_for(self, deployment: str, order: Order, run: OwnedRun) -> str:
        return self._flow_runs.make(
            deployment,
            parameters=order.parameters,
            name=order.name,
            tags=[f"batch:{run.batch_id}"],
            # With the batch in it: another ledger counts its chunks from 1 too.
            idempotency_key=f"{run.batch_id}:{run.owner}:{run.generation}",
        )

    def _each(
        self, owned: Sequence[OwnedRun], act: Callable[[OwnedRun, Woken], None], woken: Woken
    ) -> None:
        for run in owned:
            try:
                act(run, woken)
            except LedgerUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, the others go on
                self._note_trouble(run, error, woken)

    def _note_trouble(self, run: OwnedRun, error: Exception, woken: Woken) -> None:
        refused = isinstance(error, PrefectUnavailable)
        if refused:
            # Where Prefect as a whole is unwell, this raises, and the round ends.
            self._flow_runs.probe()
        everybody = refused and getattr(error, "status", None) in _REFUSES_ANYBODY
        why = str(error)[:_LONGEST_REASON] or type(error).__name__
        logger.warning("%s: %s", run.owner, why, exc_info=None if refused else error)
        woken.troubled.append(f"{run.owner}: {why}")
        failures = self._ledger.write(runs.note_failure, run.owner, count=not everybody)
        if failures >= runs.MOST_FAILURES:
            self._give_up(
                run,
                f"No flow run could be had for {run.owner}, {failures} times in a row: {why} "
                f"Once that is mended: `ittybatch resume {run.batch_id}`.",
                woken,
            )

    def _make(self, run: OwnedRun, woken: Woken) -> None:
        if self.make(run.owner):
            woken.made.append(run.owner)

    def _wake(self, ready: Sequence[OwnedRun], woken: Woken) -> None:
        ready = [run for run in ready if run.flow_run_id]
        if not ready:
            return
        statuses, now = self._statuses(ready), self._now()
        call: list[OwnedRun] = []

        def wake(run: OwnedRun, woken: Woken) -> None:
            status = statuses.get(run.flow_run_id or "")
            if status is not None and status.suspended:
                if run.called_at is None:
                    call.append(run)
                elif run.calls >= _MOST_CALLS:
                    self._replace(run, status, woken)
                elif _age_s(run.called_at, now) >= _PATIENCE_S:
                    self._resume(run, woken)
            elif _dead(status, run, now, self._lease_s):
                self._replace(run, status, woken)

        self._each(ready, wake, woken)
        if call:
            self._call(call, woken)

    def _call(self, call: Sequence[OwnedRun], woken: Woken) -> None:
        owners = [run.owner for run in call]
        # Noted first: the event is only the faster way, and what it does not wake is resumed.
        self._ledger.write(runs.note_call, owners)
        woken.called.extend(owners)
        try:
            self._flow_runs.call([run.flow_run_id or "" for run in call])
        except PrefectUnavailable as error:
            logger.warning("Runs are resumed through the API, seconds later: %s", error)

    def _resume(self, run: OwnedRun, woken: Woken) -> None:
        self._ledger.write(runs.note_call, [run.owner])
        if self._flow_runs.resume(run.flow_run_id or ""):
            woken.resumed.append(run.owner)

    def _look_after(self, silent: Sequence[OwnedRun], woken: Woken) -> None:
        bound = [run for run in silent if run.flow_run_id]
        statuses, now = self._statuses(bound), self._now()

        def look(run: OwnedRun, woken: Woken) -> None:
            status = statuses.get(run.flow_run_id or "")
            awake = run.state is RunState.AWAKE
            if status is not None and status.suspended:
                self._hold_suspended(run, woken)
            elif _dead(status, run, now, self._lease_s) or (
                awake and status and status.type is StateType.RUNNING
            ):
                self._replace(run, status, woken)

        self._each(bound, look, woken)

    def _watch(self, working: Sequence[OwnedRun], woken: Woken) -> None:
        """Hold the batches of runs that somebody suspends while they work.

        Prefect does not tell the process, and the ledger did not ask for it.
        """
        statuses = self._statuses(working)

        def watch(run: OwnedRun, woken: Woken) -> None:
            status = statuses.get(run.flow_run_id or "")
            if status is not None and status.suspended:
                self._hold_suspended(run, woken)

        self._each(working, watch, woken)

    def _hold_suspended(self, run: OwnedRun, woken: Woken) -> None:
        if self._ledger.write(suspended_in_prefect, run):
            woken.held.append(run.owner)

    def _check(self, waiting: Sequence[OwnedRun], woken: Woken) -> None:
        waiting = [run for run in waiting if run.flow_run_id]
        statuses = self._statuses(waiting)

        def check(run: OwnedRun, woken: Woken) -> None:
            status = statuses.get(run.flow_run_id or "")
            if status is None or status.ended:
                self._replace(run, status, woken)

        self._each(waiting, check, woken)

    def _mend(self, woken: Woken) -> None:
        for each in sweep(self._ledger, self._lease_s):
            logger.warning("Mended: %s", each.describe())
            woken.mended.append(each.describe())

    def _replace(self, run: OwnedRun, status: RunStatus | None, woken: Woken) -> None:
        cancelled = status is not None and status.type in {
            StateType.CANCELLED,
            StateType.CANCELLING,
        }
        if cancelled:
            self._ledger.write(_cancel, run)
            woken.cancelled.append(run.owner)
        if self._ledger.read(_in_place, run):
            self._give_up(
                run,
                "The process that ran it in place is gone. "
                f"`ittybatch resume {run.batch_id}` goes on with it through Prefect.",
                woken,
            )
        elif run.stumbles >= runs.MAX_FAILED_STARTS:
            last = (status.message if status else None) or "no reason given"
            self._give_up(
                run,
                f"The flow runs of {run.owner} ended {run.stumbles + 1} times in a row without "
                f"getting on; the last: {last[:_LONGEST_REASON]}",
                woken,
            )
        elif self._succeed(run, status):
            self.make(run.owner)
            woken.replaced.append(run.owner)
        else:
            woken.ended.append(run.owner)

    def _succeed(self, run: OwnedRun, status: RunStatus | None) -> bool:
        """Give a run up, for another or, in a held batch, for none; tell whether for another."""
        replaced = self._ledger.write(runs.replace_run, run.owner, run.generation, seen=run)
        now = self._ledger.read(runs.read_run, run.owner)
        ended = now is not None and now.state is RunState.ENDED
        if (replaced or ended) and status is not None and not status.ended and run.flow_run_id:
            try:
                self._flow_runs.give_up(run.flow_run_id, "Its process went silent.")
            except PrefectUnavailable as error:
                logger.warning("Flow run %s keeps its slot in Prefect: %s", run.flow_run_id, error)
        return replaced

    def _give_up(self, run: OwnedRun, reason: str, woken: Woken) -> None:
        match self._ledger.write(give_up, run, reason):
            case Stopped.HELD:
                logger.error("Batch %s is held: %s", run.batch_id, reason)
                show_held(self._ledger, self._flow_runs, run.batch_id)
                woken.held.append(run.owner)
                show_held(self._ledger, self._flow_runs, run.batch_id)
            case Stopped.ENDED:
                logger.error("Nothing more is tried for %s: %s", run.owner, reason)
                woken.ended.append(run.owner)
            case Stopped.MOVED:
                pass

    def _statuses(self, owned: Sequence[OwnedRun]) -> Mapping[str, RunStatus]:
        ids = [run.flow_run_id for run in owned if run.flow_run_id]
        return self._flow_runs.statuses(ids) if ids else {}

    def _now(self) -> datetime:
        return self._ledger.read(lambda transaction: transaction.now)


def _dead(status: RunStatus | None, run: OwnedRun, now: datetime, lease_s: float) -> bool:
    """Whether nothing will come of a run that should be working, or suspended by now.

    A leg may have worked for hours before it began to wait: the time counts from when both
    Prefect and the ledger have had the run as it is.
    """
    if status is None or status.ended:
        return True
    working = status.type in {StateType.PENDING, StateType.RUNNING}
    age_s = min(status.age_s(), _age_s(run.since, now))
    return working and age_s >= max(lease_s, _SLOWEST_START_S)


def _in_place(transaction: Transaction, run: OwnedRun) -> bool:
    """Whether the batch was run by a direct call, which no deployment can take up."""
    owner = runs.read_run(transaction, identity.batch_owner(run.batch_id))
    return owner is not None and owner.deployment_id is None and owner.generation == 0


def _cancel(transaction: Transaction, run: OwnedRun) -> None:
    """Take a cancel in Prefect for what it says: nothing more is sent."""
    chunk = identity.owned_chunk(run.owner)
    if chunk is None:
        cancel_batch(transaction, run.batch_id, "Its flow run was cancelled in Prefect.")
    else:
        cancel_chunk(transaction, chunk, "Its flow run was cancelled in Prefect.")


def _age_s(then: datetime, now: datetime) -> float:
    return (now - then).total_seconds()
