"""One sink's thread: it takes what waits in the outbox, and delivers it group by group."""

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import LedgerUnavailable, Transaction
from ittybatch.ledger.pending import mark
from ittybatch.ledger.reopening import reopen_last
from ittybatch.ledger.sinks import back_off, keep_leases, lease_sink
from ittybatch.sinks.base import Outcome, Result, SinkPort, SinkUnavailable
from ittybatch.sinks.results import pending_results

logger = logging.getLogger(__name__)

GROUP = 500
# Another receiver takes over a sink whose receiver was killed, after this time.
LEASE_S = 15.0
RENEW_S = 5.0
_FIRST_WAIT_S = 0.5
_MAX_WAIT_S = 60.0
_LEDGER_WAIT_S = 1.0
# Webhooks may arrive faster than results are delivered one by one. Without pauses, of this many
# times what a delivery took, each commit of the inbox would cause one here, and wait for it.
_PAUSES = 4
_MAX_PAUSE_S = 0.25
# Webhooks go first: their senders wait, and a backlog does not.
_BUSY_S = 0.1
_POSTPONED_S = 2.0
_MOST_POSTPONED = 5000
# So many failures of one group with an error that the sink does not know mean that it is not the
# sink's state but a result that it cannot handle.
_PATIENCE = 8


class Observer(Protocol):
    """Counts what channels do."""

    def delivered(self, sink: str, results: int) -> None:
        """Count delivered results."""

    def refused(self, sink: str, results: int) -> None:
        """Count results that the sink refused for good."""

    def unavailable(self, sink: str) -> None:
        """Count a group that failed because the sink was unavailable."""


@dataclass(frozen=True, slots=True)
class OpenSink:
    """A declared sink that has been opened.

    Args:
        port: The sink.
        wants: Whether it wants a result; others count as delivered.
    """

    port: SinkPort
    wants: Callable[[Result], bool]


class Channel:
    """Delivers one sink's results in a thread of its own: a slow sink delays no other.

    Args:
        ledger: Has the outbox.
        sink: The sink.
        owner: Names this process in leases.
        observer: Counts what happens.
    """

    def __init__(self, ledger: Ledger, sink: OpenSink, owner: str, observer: Observer) -> None:
        self.name = sink.port.name
        self._ledger = ledger
        self._port = sink.port
        self._wants = sink.wants
        self._owner = owner
        self._observer = observer
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._leased_at = float("-inf")
        self._not_before = float("-inf")
        self._committed_at = float("-inf")
        self._failures = 0
        self._busy = False
        self._abandoned = False
        # Rows that the sink was given, until the ledger has recorded what became of them.
        self._given: list[int] = []
        # Jobs whose results the sink could not place yet, and when to try again.
        self._postponed: dict[int, float] = {}
        # Jobs of full groups that made the sink unavailable: those behind them have their turn.
        self._passed: set[int] = set()
        self._thread = threading.Thread(target=self._run, name=f"sink-{self.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end after the current group; does not wait."""
        self._stopping.set()
        self._due.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread, and return whether it has ended; otherwise it is abandoned.

        An abandoned thread does not use the ledger any more: what it delivers is delivered again.
        """
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        self._abandoned = self._thread.is_alive()
        return not self._abandoned

    def wake(self, *, now: bool = False) -> None:
        """Look for results.

        Args:
            now: Look even if the sink was unavailable a moment ago, because the ledger says that
                it is due.
        """
        if now:
            self._not_before = float("-inf")
        else:
            self._committed_at = time.monotonic()
        self._due.set()

    @property
    def renewal_due(self) -> bool:
        """Whether its lease must be extended, because a group takes long."""
        return self._busy and time.monotonic() - self._leased_at > RENEW_S

    def renewed(self, *, kept: bool) -> None:
        """Note that its lease was extended, or lost."""
        self._leased_at = time.monotonic() if kept else float("-inf")

    @property
    def _leased(self) -> bool:
        return time.monotonic() - self._leased_at < LEASE_S - RENEW_S

    def _run(self) -> None:
        while True:
            self._due.wait()
            if self._stopping.is_set():
                break
            self._due.clear()
            began = time.monotonic()
            try:
                while self._deliver_next():
                    began = self._let_webhooks_pass(began)
            except LedgerUnavailable as error:
                logger.warning("Results for %s wait: %s", self.name, error)
                self._stopping.wait(_LEDGER_WAIT_S)
            except Exception as error:  # noqa: BLE001  the thread must survive any error
                logger.error("Delivering to %s failed: %s", self.name, _trace(error))  # noqa: TRY400
                self._back_off("An unexpected error; see the receiver's log.")
            self._stopping.wait(min(_PAUSES * (time.monotonic() - began), _MAX_PAUSE_S))
        self._close()

    def _deliver_next(self) -> bool:
        """Deliver one group, and return whether there may be more right now."""
        if self._given:
            # The ledger could not be written after the last group.
            self._record(self._keep_lease)
        waiting = self._waiting_jobs()
        if not self._may_deliver(len(waiting)):
            return False
        results = self._ledger.read(
            pending_results,
            self.name,
            GROUP,
            raw=self._port.wants_raw,
            except_jobs=waiting,
        )
        passed = bool(self._passed)
        if len(results) < GROUP:
            # The end of the backlog: the oldest are next.
            self._passed.clear()
        if not results:
            return passed
        wanted = [result for result in results if self._wants(result)]
        self._given = [result.outbox_id for result in wanted]
        self._busy = True
        try:
            outcomes = self._deliver(wanted) if wanted else []
        except SinkUnavailable as error:
            self._back_off(str(error))
            self._pass_over(results)
            return False
        finally:
            self._busy = False
        if self._abandoned:
            return False
        if outcomes:
            # It is there: the oldest have waited for long, and a steady backlog may have no end.
            self._passed.clear()
        unwanted = [Outcome(result.outbox_id) for result in results if not self._wants(result)]
        answered = [*unwanted, *outcomes]
        # Without any answer, the same group would be read again at once.
        more = passed or len(results) == GROUP
        return self._mark(results, answered) and more and bool(answered)

    def _pass_over(self, results: Sequence[Result]) -> None:
        """Let the next attempt read what is behind a full group, which may fail each time."""
        if len(results) == GROUP:
            self._passed.update(result.job_id for result in results)
        if len(self._passed) + len(self._postponed) >= _MOST_POSTPONED:
            self._passed.clear()

    def _let_webhooks_pass(self, began: float) -> float:
        """Pause between two groups of a backlog while this process is committing webhooks."""
        ended = time.monotonic()
        if ended - self._committed_at < _BUSY_S:
            self._stopping.wait(min(ended - began, _MAX_PAUSE_S))
        return time.monotonic()

    def _may_deliver(self, postponed: int) -> bool:
        if self._stopping.is_set() or time.monotonic() < self._not_before:
            return False
        return postponed < _MOST_POSTPONED and (self._leased or self._take_lease())

    def _waiting_jobs(self) -> list[int]:
        now = time.monotonic()
        self._postponed = {job: at for job, at in self._postponed.items() if at > now}
        # The order of a job's results stays: all of them wait.
        return list(self._postponed.keys() | self._passed)

    def _take_lease(self) -> bool:
        taken = self._ledger.write(lease_sink, self.name, self._owner, LEASE_S)
        self.renewed(kept=taken)
        return taken

    def _deliver(self, results: Sequence[Result]) -> Sequence[Outcome]:
        try:
            return self._port.deliver(results)
        except SinkUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  one result breaks the group
            logger.warning(
                "Delivering %d results to %s one by one: %s",
                len(results),
                self.name,
                _trace(error),
            )
            return self._deliver_singly(results, error)

    def _deliver_singly(self, results: Sequence[Result], first: Exception) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        failed: list[Outcome] = []
        for result in results:
            try:
                outcomes += self._port.deliver([result])
            except SinkUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  concerns one result only
                failed.append(Outcome(result.outbox_id, _describe(error)))
        if not outcomes and self._failures < _PATIENCE:
            raise SinkUnavailable(f"The sink {self.name} failed: {_describe(first)}") from first
        return [*outcomes, *failed]

    def _mark(self, results: Sequence[Result], outcomes: Sequence[Outcome]) -> bool:
        """Record the outcomes and extend the lease; return whether the lease is still ours."""
        by_id = {outcome.outbox_id: outcome for outcome in outcomes}
        delivered: list[int] = []
        refused: list[tuple[int, str]] = []
        postponed: set[int] = set()
        for result in results:
            outcome = by_id.get(result.outbox_id)
            if outcome is None or result.job_id in postponed:
                # Later events of the same job wait with it: the sink must see the last one last.
                postponed.add(result.job_id)
            elif outcome.error is None:
                delivered.append(result.outbox_id)
            else:
                refused.append((result.outbox_id, outcome.error))
        retry_at = time.monotonic() + _POSTPONED_S
        self._postponed |= dict.fromkeys(postponed, retry_at)

        def record(transaction: Transaction) -> bool:
            kept = self._keep_lease(transaction)
            if kept:
                tries = {result.outbox_id: result.tries for result in results}
                mark(transaction, self.name, delivered, refused, tries=tries)
            return kept

        if not self._record(record):
            return False
        if self._failures:
            logger.info("The sink %s is available again.", self.name)
        self._failures = 0
        self._observer.delivered(self.name, len(delivered))
        if refused:
            self._observer.refused(self.name, len(refused))
            logger.warning(
                "The sink %s refused %d results: %s", self.name, len(refused), refused[-1][1]
            )
        return True

    def _record(self, record: Callable[[Transaction], bool]) -> bool:
        """Write what became of a group, and return whether the lease is still ours."""
        kept = self._ledger.write(record)
        self._given = []
        self.renewed(kept=kept)
        return kept

    def _keep_lease(self, transaction: Transaction) -> bool:
        """Extend the lease. If another receiver has it, repeat what may have been overwritten.

        What was delivered without a lease is not marked: the other receiver delivers it, too.
        """
        if keep_leases(transaction, [self.name], self._owner, LEASE_S):
            return True
        if self._given:
            again = reopen_last(transaction, self.name, self._given)
            logger.warning(
                "Another receiver took over the sink %s during a delivery: was this process "
                "paused? Nothing is lost; %d ends of jobs are delivered again.",
                self.name,
                again,
            )
        return False

    def _back_off(self, error: str) -> None:
        if self._abandoned:
            return
        wait_s = min(_FIRST_WAIT_S * 2.0 ** min(self._failures, 10), _MAX_WAIT_S)
        wait_s *= random.uniform(0.5, 1.0)  # noqa: S311  no secret
        self._failures += 1
        self._not_before = time.monotonic() + wait_s
        self._observer.unavailable(self.name)
        # Once per outage: backing off goes on for as long as it lasts.
        log = logger.warning if self._failures == 1 else logger.debug
        log("The sink %s is not available; its results wait: %s", self.name, error)

        def record(transaction: Transaction) -> bool:
            kept = self._keep_lease(transaction)
            if kept:
                back_off(transaction, self.name, error, wait_s)
            return kept

        try:
            self._record(record)
        except LedgerUnavailable as unavailable:
            logger.warning("Results for %s wait: %s", self.name, unavailable)
        # The next attempt asks the ledger, which knows when the sink is due.
        self.renewed(kept=False)

    def _close(self) -> None:
        try:
            self._port.close()
        except Exception as error:  # noqa: BLE001  the process ends anyway
            logger.warning("Closing %s failed: %s", self.name, _trace(error))


def _trace(error: Exception) -> str:
    """Where an error came from, without its message, which may contain a secret URL."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__name__}\n{frames}"


def _describe(error: Exception) -> str:
    if isinstance(error, IttybatchError):
        return str(error)
    # The message of an unknown error may contain a password.
    return f"{type(error).__name__} (see the receiver's log)"
