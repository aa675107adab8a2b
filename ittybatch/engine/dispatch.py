"""Dispatch: send a chunk's due jobs to Ittybit.

The ledger stores each job's Idempotency-Key before the job is sent.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ittybatch.engine.lookup import MadeElsewhere
from ittybatch.engine.pace import Pace
from ittybatch.engine.responses import Submitter, record_responses
from ittybatch.engine.sending import Sending
from ittybatch.errors import IttybatchError
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import IttybitError
from ittybatch.ittybit.failures import Refusal, classify_refusal
from ittybatch.ledger import Ledger
from ittybatch.ledger.brakes import Circuit, SendLimits, gate_of, recovered, send_limits_of, trip
from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.legs import Leg
from ittybatch.ledger.submission import Submission, claim_due, unanswered

_CLAIM_SIZE = 256
_CLAIM_FOR_S = 10.0
# A pause or a change of rate takes effect within this time.
_READ_TERMS_EVERY_S = 2.0
_RECORD_EVERY_S = 0.05


@dataclass(slots=True)
class Dispatched:
    """The result of a dispatch."""

    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    put_back: int = 0
    stopped: str | None = None
    tripped: str | None = None
    pause_s: float = 0.0

    @property
    def total(self) -> int:
        """The number of submissions attempted."""
        return self.accepted + self.refused + self.unknown + self.put_back


class Dispatcher:
    """Sends the due jobs of one chunk.

    Args:
        ledger: The ledger in which jobs are claimed and responses recorded.
        client: Client of Ittybit's API.
        chunk: The chunk's id.
        concurrency: Maximum number of requests in flight.
        webhook_url: URL to which Ittybit reports the end of a job; None to only poll.
        connection_id: Ittybit's storage connection for buckets, if any.
        pace: Limits the rate of submissions, in addition to the batch's rate in the ledger.
        leg: The leg that sends; one that has been replaced sends nothing more.
        on_progress: Called with the result so far after each group of responses.
    """

    def __init__(
        self,
        ledger: Ledger,
        client: IttybitClient,
        chunk: int,
        *,
        concurrency: int = 64,
        webhook_url: str | None = None,
        connection_id: str | None = None,
        pace: Pace | None = None,
        leg: Leg | None = None,
        on_progress: Callable[[Dispatched], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._sending = Sending(
            ledger, client, webhook_url=webhook_url, connection_id=connection_id
        )
        self._chunk = chunk
        self._concurrency = concurrency
        self._pace = pace or Pace()
        self._leg = None if leg is None else (leg.generation, leg.number)
        self._on_progress = on_progress
        self._submitter = Submitter(self._sending)
        self._result = Dispatched()
        self._batch = ""
        self._limits = SendLimits(sending=True, rate_per_s=None, cancelled_at=None)
        self._sent_before: set[int] = set()
        self._limits_read_at = 0.0

    async def run(self) -> Dispatched:
        """Send all due jobs, and record every response.

        For a cancelled batch, send nothing, and look up the jobs that an earlier leg may have sent.

        Raises:
            LedgerUnavailable: The database stays unavailable. The next leg repeats the requests
                that were not recorded, under the same keys.
        """
        gate = self._ledger.read(gate_of, self._chunk)
        self._batch = gate.batch
        self._read_limits()
        if gate.circuit is Circuit.OPEN:
            return self._result
        if self._may_send_new and not await self._is_new():
            return self._result
        if gate.circuit is Circuit.PROBING and not await self._probe():
            return self._result
        queue: asyncio.Queue[Submission | None] = asyncio.Queue(2 * self._concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed(queue))
                senders = [
                    group.create_task(self._send_all(queue)) for _ in range(self._concurrency)
                ]
                group.create_task(self._record_until(senders))
        except* IttybatchError as errors:
            raise errors.exceptions[0] from errors
        if self._result.tripped:
            self._result.pause_s = self._ledger.write(trip, self._batch)
        return self._result

    async def _is_new(self) -> bool:
        """Look for a sample of the jobs at Ittybit; stop if another ledger may have sent them."""
        try:
            other = await self._sending.sampled_elsewhere(self._chunk)
        except IttybitError as error:
            if classify_refusal(error) is not Refusal.STOP:
                # The service is failing. The next leg, after the pause, looks again.
                self._result.tripped = str(error)
                self._result.pause_s = self._ledger.write(trip, self._batch)
                return False
            self._result.stopped = str(error)
        else:
            if other is None:
                return True
            self._result.stopped = str(MadeElsewhere(self._batch, other))
        self._ledger.write(hold_batch, self._batch, self._result.stopped)
        return False

    async def _probe(self) -> bool:
        """Send one job to check whether the service is up again."""
        self._refresh_limits()
        if self._limits.replaced:
            return False
        group = self._unanswered() or self._ledger.write(claim_due, self._chunk, 1)
        if not group:
            return True
        await self._send(group[0])
        self._record()
        if self._submitter.answered and not self._result.stopped:
            self._ledger.write(recovered, self._batch)
            return True
        if self._submitter.consecutive_failures or self._result.stopped:
            self._result.pause_s = self._ledger.write(trip, self._batch)
        # Otherwise the probe was cut short, and says nothing: the next leg probes again.
        return False

    async def _feed(self, queue: asyncio.Queue[Submission | None]) -> None:
        """Queue what an earlier leg left unanswered, then claim and queue all due jobs."""
        for submission in [] if self._limits.replaced else self._unanswered():
            await self._wait_for_turn(regardless=True)
            await queue.put(submission)
        while group := self._claim():
            for submission in group:
                if self._may_send_new:
                    await self._wait_for_turn()
                if self._may_send_new:
                    await queue.put(submission)
                else:
                    self._leave(submission)
        for _ in range(self._concurrency):
            await queue.put(None)

    def _unanswered(self) -> list[Submission]:
        """Return the submissions without a response, and mark them as sent before."""
        # Ittybit may have these jobs, so follow them even if the batch is held or cancelled.
        found = self._ledger.read(unanswered, self._chunk)
        self._sent_before.update(submission.job_id for submission in found)
        return found

    def _claim(self) -> list[Submission]:
        self._refresh_limits()
        if not self._may_send_new:
            return []
        # Claimed jobs wait in this process for their turn, so claim only a few at a slow rate.
        size = self._pace.most_in(_CLAIM_FOR_S, _CLAIM_SIZE)
        return self._ledger.write(claim_due, self._chunk, size)

    async def _wait_for_turn(self, *, regardless: bool = False) -> None:
        """Wait until the next job may be sent. The rate may change while this waits.

        Args:
            regardless: Wait even if the batch no longer sends.
        """
        while True:
            self._refresh_limits()
            wait_s = self._pace.wait_s
            sends = self._limits.sending or (regardless and not self._limits.replaced)
            if wait_s <= 0 or self._stopping or not sends:
                break
            await asyncio.sleep(min(wait_s, _READ_TERMS_EVERY_S))
        self._pace.leave()

    def _refresh_limits(self) -> None:
        """Read the limits again if they are too old to send by: once for all senders."""
        # Not the monotonic clock, which stops while a machine sleeps.
        if abs(time.time() - self._limits_read_at) >= _READ_TERMS_EVERY_S:
            self._read_limits()

    def _read_limits(self) -> None:
        """Read whether the batch still sends jobs, and at which rate."""
        self._limits = self._ledger.read(send_limits_of, self._chunk, self._leg)
        self._pace.go_at(self._limits.rate_per_s)
        self._limits_read_at = time.time()

    async def _send_all(self, queue: asyncio.Queue[Submission | None]) -> None:
        while (submission := await queue.get()) is not None:
            await self._pace.pause_over()
            # It may have been queued for long, behind slow answers or a pause.
            self._refresh_limits()
            if self._may_send(submission):
                await self._send(submission)
            else:
                self._leave(submission)

    def _may_send(self, submission: Submission) -> bool:
        if submission.job_id in self._sent_before:
            return not (self._stopping or self._limits.replaced)
        return self._may_send_new

    def _leave(self, submission: Submission) -> None:
        self._submitter.leave(submission, sent_before=submission.job_id in self._sent_before)

    async def _may_repeat(self, submission: Submission) -> bool:
        """Whether a request may be sent again, after a wait that may have been long."""
        self._refresh_limits()
        limits = self._limits
        if submission.job_id in self._sent_before:
            return limits.cancelled_at is None and not limits.replaced
        return limits.sending

    async def _record_until(self, senders: Sequence[asyncio.Task[None]]) -> None:
        """Record new responses regularly, in one commit each time, until all senders have ended."""
        sending = set(senders)
        while sending:
            _, sending = await asyncio.wait(sending, timeout=_RECORD_EVERY_S)
            # Do not use a thread: the database driver and this loop would compete for the GIL at
            # every row, and this loop has nothing else to do.
            self._record()

    async def _send(self, submission: Submission) -> None:
        before = submission.job_id in self._sent_before
        await self._submitter.send(
            submission,
            sent_before=before,
            cancelled_at=self._limits.cancelled_at,
            may_repeat=partial(self._may_repeat, submission),
        )

    @property
    def _may_send_new(self) -> bool:
        """Whether jobs that were never sent may be sent."""
        return self._limits.sending and not self._stopping

    @property
    def _stopping(self) -> bool:
        return bool(self._result.stopped) or self._submitter.stopping

    def _record(self) -> None:
        self._result.stopped = self._result.stopped or self._submitter.stopped
        self._result.tripped = self._submitter.tripped
        responses = self._submitter.take_responses()
        if self._limits.replaced:
            responses.assume_sent()
        if not len(responses):
            return
        self._ledger.write(record_responses, responses, self._batch, self._result.stopped)
        self._result.accepted += len(responses.accepted)
        self._result.refused += len(responses.refused)
        self._result.unknown += len(responses.unknown)
        self._result.put_back += responses.put_back
        if self._on_progress:
            self._on_progress(self._result)
