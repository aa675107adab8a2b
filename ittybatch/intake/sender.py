"""The sender: sends what was taken at once, and records the responses in groups.

What it cannot send in time it leaves to a leg of the job's chunk, which sends it under the same
key.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ittybatch.engine.connection import connect
from ittybatch.engine.pace import Pace
from ittybatch.engine.responses import Responses, Submitter, record_responses
from ittybatch.engine.sending import Sending
from ittybatch.errors import ConfigurationError, IttybatchError
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.brakes import is_sending, trip
from ittybatch.ledger.submission import Submission
from ittybatch.settings import Settings

if TYPE_CHECKING:
    from ittybatch.ittybit.client import IttybitClient

logger = logging.getLogger(__name__)

# From the commit that claims a job until its sender must have Ittybit's last answer. A try takes
# 8 s at most, so that three of them, begun within `_SEND_WITHIN_S`, end before that.
LEASE_S = 60.0
_SEND_WITHIN_S = 20.0
# After a wait of this length, the batch may have been held or cancelled.
_CHECK_AFTER_S = 2.0
# How soon a wait for the rate limit ends when the process stops.
_LOOK_EVERY_S = 0.5
_MAX_BACKLOG = 2000
_RECORD_AGAIN_S = 1.0
_MAX_RECORD_AGAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a submission, once that is in the ledger.

    Args:
        task_id: Ittybit's id, if it accepted the job.
        error: Why it refused the job for good, if it did.
    """

    task_id: str | None = None
    error: str | None = None


@dataclass(eq=False, slots=True)
class _Batch:
    """The submissions of one batch that are under way."""

    id: str
    submitter: Submitter
    pending: int = 0
    is_tripped: bool = False


@dataclass(slots=True)
class _Group:
    """Responses of several batches, recorded in one transaction."""

    parts: list[tuple[str, Responses, str | None]] = field(default_factory=list)
    tripped: list[str] = field(default_factory=list)


class Sender:
    """Sends the submissions that this process has claimed.

    Args:
        ledger: Records the responses.
        settings: The API, the webhook's address, the limits.
        on_recorded: Called in the event loop after responses were recorded.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        on_recorded: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._on_recorded = on_recorded
        self._settings = settings
        self._client: IttybitClient | None = None
        self._sending: Sending | None = None
        self._pace = Pace(settings.submit_rate_per_s)
        self._slots = asyncio.Semaphore(settings.submit_concurrency)
        self._batches: dict[str, _Batch] = {}
        self._unfinished: set[_Batch] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._outcomes: dict[int, asyncio.Future[Sent]] = {}
        self._answered = asyncio.Event()
        # Not the thread that takes requests: on SQLite one waits for the other's commit.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake-record")
        self._recording: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        """Open the connection to Ittybit. Without an API key, legs send everything."""
        try:
            self._client = connect(self._settings, on_retry=self._pace.note_retry, patient=False)
        except ConfigurationError as error:
            logger.warning("Requests are taken, and sent by flow runs only: %s", error)
        else:
            await self._client.__aenter__()
            self._sending = Sending(
                self._ledger,
                self._client,
                webhook_url=self._settings.webhook_url,
                connection_id=self._settings.connection_id,
            )
        self._recording = asyncio.create_task(self._record_until_closed())

    async def stop(self) -> None:
        """Finish what is under way, record it, and close the connection."""
        self._closing = True
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._answered.set()
        if self._recording is not None:
            await self._recording
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
        self._thread.shutdown(wait=True)

    @property
    def may_claim(self) -> bool:
        """Whether it can send more now."""
        return (
            self._sending is not None
            and not self._closing
            and len(self._tasks) < _MAX_BACKLOG
            and self._pace.wait_s < _SEND_WITHIN_S / 2
        )

    def send(self, submissions: Sequence[Submission]) -> None:
        """Send submissions that have just been claimed."""
        assert self._sending is not None  # noqa: S101  nothing is claimed without it
        loop = asyncio.get_running_loop()
        for submission in submissions:
            batch = self._batch(submission.batch_id, self._sending)
            batch.pending += 1
            self._outcomes[submission.job_id] = loop.create_future()
            task = loop.create_task(self._send(batch, submission, loop.time()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def outcome(self, job: int) -> asyncio.Future[Sent] | None:
        """The outcome of a submission that this process has under way; None if there is none."""
        return self._outcomes.get(job)

    def _batch(self, batch: str, sending: Sending) -> _Batch:
        found = self._batches.get(batch)
        if found is None or found.submitter.stopping:
            # The old one ends with its last response; somebody has resumed the batch since.
            found = self._batches[batch] = _Batch(batch, Submitter(sending))
            self._unfinished.add(found)
        return found

    async def _send(self, batch: _Batch, submission: Submission, claimed_at: float) -> None:
        try:
            async with self._slots:
                if await self._may_send(batch, claimed_at):
                    await batch.submitter.send(
                        submission, may_repeat=partial(self._may_repeat, batch)
                    )
                else:
                    batch.submitter.leave(submission)
        except Exception:  # its lease ends, and a leg sends it again
            logger.exception("A submission of batch %s failed.", batch.id)
            self._resolve(submission.job_id, Sent())
        finally:
            batch.pending -= 1
            self._answered.set()

    async def _may_send(self, batch: _Batch, claimed_at: float) -> bool:
        loop = asyncio.get_running_loop()
        while (wait_s := self._pace.wait_s) > 0:
            if loop.time() + wait_s - claimed_at > _SEND_WITHIN_S or self._closing:
                return False
            await asyncio.sleep(min(wait_s, _LOOK_EVERY_S))
        self._pace.leave()
        waited_s = loop.time() - claimed_at
        if batch.submitter.stopping or waited_s > _SEND_WITHIN_S:
            return False
        if waited_s > _CHECK_AFTER_S:
            return await asyncio.to_thread(self._ledger.read, is_sending, batch.id)
        return True

    async def _may_repeat(self, batch: _Batch) -> bool:
        """Whether a request may be sent again, after the wait for it."""
        return not batch.submitter.stopping and await asyncio.to_thread(
            self._ledger.read, is_sending, batch.id
        )

    async def _record_until_closed(self) -> None:
        while True:
            await self._answered.wait()
            self._answered.clear()
            await asyncio.sleep(0)  # responses that are already here join the same group
            await self._record()
            # Not while there are answers that came during the last commit.
            if self._closing and not self._tasks and not self._answered.is_set():
                return

    async def _record(self) -> None:
        group = self._take_group()
        if not group.parts:
            return
        wait_s = _RECORD_AGAIN_S
        while True:
            try:
                await self._ledger.write_from_loop(self._thread, _record, group)
                self._on_recorded()
                break
            except IttybatchError as error:
                logger.warning("Ittybit's answers are not recorded yet: %s", error)
            except Exception:  # of any kind: the loop must survive, and the leases end
                logger.exception("Ittybit's answers are not recorded yet.")
            if self._closing or wait_s > _MAX_RECORD_AGAIN_S:
                # The leases end, and legs find or send these jobs again under the same keys.
                break
            await asyncio.sleep(wait_s)
            wait_s *= 2
        for _, responses, _ in group.parts:
            self._tell(responses)

    def _take_group(self) -> _Group:
        group = _Group()
        for batch in list(self._unfinished):
            submitter = batch.submitter
            stopped = submitter.stopped
            trips = submitter.tripped is not None and not batch.is_tripped
            responses = submitter.take_responses()
            if len(responses):
                group.parts.append((batch.id, responses, stopped))
            if trips:
                batch.is_tripped = True
                group.tripped.append(batch.id)
                logger.error("Ittybit seems to be down: %s", submitter.tripped)
            if batch.pending == 0 and not len(responses):
                self._unfinished.discard(batch)
                if self._batches.get(batch.id) is batch:
                    del self._batches[batch.id]
        return group

    def _tell(self, responses: Responses) -> None:
        for accepted in responses.accepted:
            self._resolve(accepted.job_id, Sent(accepted.task_id))
        for refused in responses.refused:
            self._resolve(refused.job_id, Sent(error=refused.error_message))
        for job, _ in (*responses.unknown, *responses.unsent, *responses.limited):
            self._resolve(job, Sent())

    def _resolve(self, job: int, sent: Sent) -> None:
        future = self._outcomes.pop(job, None)
        if future is not None and not future.done():
            future.set_result(sent)


def _record(transaction: Transaction, group: _Group) -> None:
    for batch, responses, stopped in sorted(group.parts, key=lambda part: part[0]):
        record_responses(transaction, responses, batch, stopped, wakes_legs=True)
    for batch in sorted(group.tripped):
        trip(transaction, batch)
