"""Wake runs: resume ready runs until their process has started, and replace lost runs.

An owner is a batch or a chunk. A failure for one owner does not stop the others. It is counted and
retried later. After too many failures, the owner's batch is held.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import httpx
from prefect.client.schemas.objects import StateType

from ittybatch.engine.flow_runs import FlowRuns, PrefectUnavailable
from ittybatch.engine.notices import Notices
from ittybatch.engine.orders import make_run
from ittybatch.engine.replacing import Replacer, Woken, age_s, is_dead, was_cancelled
from ittybatch.engine.run_status import RunStatus
from ittybatch.ledger import Ledger, legs, runs
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.recorded import ledger_time
from ittybatch.ledger.runs import OwnedRun
from ittybatch.ledger.states import RunState
from ittybatch.ledger.stopping import suspended_in_prefect
from ittybatch.ledger.sweep import sweep

logger = logging.getLogger(__name__)

# A healthy automation resumes a run in under a second. After this time, use the API instead.
_PATIENCE_S = 4.0
_NOT_MADE_AFTER_S = 5.0
# Runs that wait for a worker are silent too, so checking them every second gains nothing.
_CHECKS_PER_LEASE = 4
# These statuses are not about one particular run.
_REFUSES_EVERY_RUN = {
    httpx.codes.UNAUTHORIZED,
    httpx.codes.FORBIDDEN,
    httpx.codes.REQUEST_TIMEOUT,
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.SERVICE_UNAVAILABLE,
}
_MAX_REASON_CHARS = 500
# After this many requests, for two minutes, Prefect still has not resumed the run.
_MAX_CALLS = 30


class Waker:
    """Wakes, creates and replaces the flow runs of batches and chunks.

    Several wakers may work on one ledger at once: a run that is resumed twice starts once, and
    only one waker replaces a run.

    Args:
        ledger: The ledger, which knows the ready runs.
        flow_runs: Access to flow runs in Prefect.
        lease_s: Seconds without a heartbeat after which a leg counts as dead.
    """

    def __init__(self, ledger: Ledger, flow_runs: FlowRuns, *, lease_s: float) -> None:
        self._ledger = ledger
        self._flow_runs = flow_runs
        self._lease_s = lease_s
        self._replacer = Replacer(ledger, flow_runs)
        self._notices = Notices(ledger, flow_runs)
        self._checked_at = -math.inf

    def round(self) -> Woken:
        """Wake ready runs, create missing ones, replace dead ones.

        This sends no request to Prefect if there is nothing to do.

        Raises:
            PrefectUnavailable: Prefect does not answer. The next round continues.
            LedgerUnavailable: The database does not answer.
        """
        woken = Woken()
        self._each(self._ledger.read(runs.unbound_runs, _NOT_MADE_AFTER_S), self._make, woken)
        self._wake(self._ready(), woken)
        woken.continued += self._notices.resume_waiters()
        self._notices.send()
        if time.monotonic() - self._checked_at >= self._lease_s / _CHECKS_PER_LEASE:
            self._checked_at = time.monotonic()
            self._check_silent(self._ledger.read(runs.silent_runs, self._lease_s), woken)
            self._check_working(self._ledger.read(runs.working_runs), woken)
            self._check_suspended(self._ledger.read(runs.suspended_runs), woken)
            # A batch cancelled in the UI must stop now, not when its next chunk ends.
            self._check_ended(self._ledger.read(runs.waiting_runs, batches_only=True), woken)
            self._repair(woken)
        return woken

    def _ready(self) -> list[OwnedRun]:
        """The ready runs, without those of growing chunks that have nothing to do yet."""
        ready = self._ledger.read(runs.ready_runs)
        owners = [run.owner for run in ready if run.called_at is None]
        if not owners or not (growing := self._ledger.read(legs.growing_among, owners)):
            return ready
        postponed = self._ledger.write(legs.postpone_idle, growing)
        return [run for run in ready if run.owner not in postponed]

    def check_waiting(self) -> Woken:
        """Check all waiting runs, ready or not, and handle those that ended in Prefect."""
        woken = Woken()
        self._check_ended(self._ledger.read(runs.waiting_runs), woken)
        return woken

    def make_missing(self, batch: str) -> list[str]:
        """Create the flow runs that a batch and its chunks are waiting for.

        Returns:
            The flow runs' ids.

        Raises:
            PrefectUnavailable: Prefect does not answer; a later round creates them.
        """
        made: list[str] = []

        def make(run: OwnedRun, _woken: Woken) -> None:
            if flow_run := make_run(self._ledger, self._flow_runs, run.owner):
                made.append(flow_run)

        self._each(self._ledger.read(runs.unmade_runs, batch), make, Woken())
        return made

    def replace_dead(self, batch: str) -> None:
        """Retire the runs of a batch whose processes are gone, without waiting for a lease.

        Used when a batch is resumed, because its runs may have died while it was held.

        Raises:
            PrefectUnavailable: Prefect does not answer; a later round finds them.
        """
        live = self._ledger.read(runs.live_runs, batch)
        statuses, now = self._statuses(live), self._now()

        def retire(run: OwnedRun, _woken: Woken) -> None:
            status = statuses.get(run.flow_run_id or "")
            if run.state is RunState.AWAKE:
                # Trust a heartbeat over Prefect, which may not know about the process.
                silent = age_s(run.heartbeat_at, now) >= self._lease_s
                dead = silent or (status is not None and status.ended)
            else:
                dead = is_dead(status, run, now, self._lease_s)
            if dead:
                self._replacer.retire(run, status)

        self._each(live, retire, Woken())

    def _each(
        self, owned: Sequence[OwnedRun], act: Callable[[OwnedRun, Woken], None], woken: Woken
    ) -> None:
        for run in owned:
            try:
                act(run, woken)
            except LedgerUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  one failure must not stop the others
                self._note_trouble(run, error, woken)

    def _note_trouble(self, run: OwnedRun, error: Exception, woken: Woken) -> None:
        refused = isinstance(error, PrefectUnavailable)
        if refused:
            # If Prefect is unavailable, this raises and the round ends.
            self._flow_runs.probe()
        every_run = refused and getattr(error, "status", None) in _REFUSES_EVERY_RUN
        why = str(error)[:_MAX_REASON_CHARS] or type(error).__name__
        logger.warning("%s: %s", run.owner, why, exc_info=None if refused else error)
        woken.troubled.append(f"{run.owner}: {why}")
        failures = self._ledger.write(runs.note_failure, run.owner, count=not every_run)
        if failures >= runs.MOST_FAILURES:
            self._replacer.give_up(
                run,
                f"No flow run could be created for {run.owner}, {failures} times in a row: {why} "
                f"When that is fixed: `ittybatch resume {run.batch_id}`.",
                woken,
            )

    def _make(self, run: OwnedRun, woken: Woken) -> None:
        if make_run(self._ledger, self._flow_runs, run.owner):
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
                elif run.calls >= _MAX_CALLS:
                    self._replacer.replace(run, status, woken)
                elif age_s(run.called_at, now) >= _PATIENCE_S:
                    self._resume(run, woken)
            elif is_dead(status, run, now, self._lease_s):
                self._replacer.replace(run, status, woken)

        self._each(ready, wake, woken)
        if call:
            self._call(call, woken)

    def _call(self, call: Sequence[OwnedRun], woken: Woken) -> None:
        owners = [run.owner for run in call]
        # Record the call first, so that runs that the event does not wake are resumed by the API.
        self._ledger.write(runs.note_call, owners)
        woken.called.extend(owners)
        try:
            self._flow_runs.call([run.flow_run_id or "" for run in call])
        except PrefectUnavailable as error:
            logger.warning(
                "No resume events; runs are resumed through the API instead, seconds later: %s",
                error,
            )

    def _resume(self, run: OwnedRun, woken: Woken) -> None:
        self._ledger.write(runs.note_call, [run.owner])
        if self._flow_runs.resume(run.flow_run_id or ""):
            woken.resumed.append(run.owner)

    def _check_silent(self, silent: Sequence[OwnedRun], woken: Woken) -> None:
        bound = [run for run in silent if run.flow_run_id]
        statuses, now = self._statuses(bound), self._now()

        def look(run: OwnedRun, woken: Woken) -> None:
            status = statuses.get(run.flow_run_id or "")
            awake = run.state is RunState.AWAKE
            if status is not None and status.suspended:
                self._hold_suspended(run, woken)
            elif is_dead(status, run, now, self._lease_s) or (
                awake and status and status.type is StateType.RUNNING
            ):
                self._replacer.replace(run, status, woken)

        self._each(bound, look, woken)

    def _check_working(self, working: Sequence[OwnedRun], woken: Woken) -> None:
        """Hold the batches of runs that someone suspended in Prefect while they work.

        Prefect does not notify the process, and the ledger did not request the suspension.
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

    def _check_suspended(self, suspended: Sequence[OwnedRun], woken: Woken) -> None:
        """Cancel what an operator suspended in Prefect first, and then cancelled there."""
        statuses = self._statuses(suspended)

        def check(run: OwnedRun, woken: Woken) -> None:
            status = statuses.get(run.flow_run_id or "")
            if status is not None and was_cancelled(status):
                self._replacer.replace(run, status, woken)

        self._each(suspended, check, woken)

    def _check_ended(self, waiting: Sequence[OwnedRun], woken: Woken) -> None:
        waiting = [run for run in waiting if run.flow_run_id]
        statuses = self._statuses(waiting)

        def check(run: OwnedRun, woken: Woken) -> None:
            status = statuses.get(run.flow_run_id or "")
            if status is None or status.ended:
                self._replacer.replace(run, status, woken)

        self._each(waiting, check, woken)

    def _repair(self, woken: Woken) -> None:
        for each in sweep(self._ledger, self._lease_s):
            logger.warning("Repaired: %s", each.describe())
            woken.mended.append(each.describe())

    def _statuses(self, owned: Sequence[OwnedRun]) -> Mapping[str, RunStatus]:
        ids = [run.flow_run_id for run in owned if run.flow_run_id]
        return self._flow_runs.statuses(ids) if ids else {}

    def _now(self) -> datetime:
        return self._ledger.read(ledger_time)
