"""Takes requests: one commit holds all that arrived together, then their jobs are sent."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http import HTTPStatus

from ittybatch.engine.options import RunOptions
from ittybatch.intake.brakes import Brakes
from ittybatch.intake.live_profiles import LiveProfiles
from ittybatch.intake.loops import refuse_loops
from ittybatch.intake.objects import Objects
from ittybatch.intake.orders import Orders, identity_of
from ittybatch.intake.sender import LEASE_S, Sender, Sent
from ittybatch.intake.taken import Taken, TakenJob
from ittybatch.intake.wanted import (
    IdempotencyConflict,
    MayBeTaken,
    RequestRefused,
    TaskSpec,
    Wanted,
)
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.ledger.intake import (
    DestinationTaken,
    KeyReused,
    Order,
    OrderedJob,
    Receipt,
    find_taken,
    take,
)
from ittybatch.settings import Settings

logger = logging.getLogger(__name__)

__all__ = [
    "IdempotencyConflict",
    "Intake",
    "LedgerUnavailable",
    "MayBeTaken",
    "RequestRefused",
    "Taken",
    "TakenJob",
    "TaskSpec",
    "Wanted",
]

_MAX_GROUP = 256
_MAX_GROUP_JOBS = 2000
_MAX_PENDING = 10_000
# A sender that is told so after this time can try again before its own timeout.
_MAX_COMMIT_S = 4.0


class _GivenUp(Exception):
    """The callers were told that nothing was taken, so nothing may be committed."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request that waits for its commit.

    Args:
        order: The request's order.
        future: Is given its jobs.
        given_up: Whether its caller was told that it was not taken.
        committing: Whether its commit has begun, so that its outcome is open until the end.
    """

    order: Order
    future: asyncio.Future[Sequence[OrderedJob]]
    given_up: bool = False
    committing: bool = False


class Intake:
    """Takes requests and sends their jobs.

    Use it from one event loop, between `start` and `stop`.

    Args:
        ledger: The ledger. Its patience should be a few seconds: callers wait.
        settings: The API, the folder of profiles, the limits.
        options: Options of the batches, by profile; those of `requests` are for requests without
            a profile.
        watched: The folders, `s3://bucket/prefix/`, whose new objects are requests.
        objects: Looks at the objects that requests name; the intake closes it.
        on_recorded: Called in the event loop after Ittybit's answers were recorded.

    Raises:
        ConfigurationError: An option makes no sense for requests.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        options: Mapping[str, RunOptions] | None = None,
        watched: Sequence[str] = (),
        *,
        objects: Objects | None = None,
        on_recorded: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._watched = watched
        self._orders = Orders(
            LiveProfiles(settings.profiles_dir),
            options or {},
            allow_private=settings.allow_private_urls,
        )
        self._objects = objects or Objects()
        self._sender = Sender(ledger, settings, on_recorded)
        self._brakes = Brakes(ledger)
        self._pending: list[_Waiting] = []
        self._arrived = asyncio.Event()
        # One thread: SQLite has one writer, and on Postgres groups commit one after another.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")
        # Decides between a commit that begins and callers that are told not to wait for it.
        self._deciding = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        """Start taking requests."""
        await self._sender.start()
        self._brakes.start()
        self._task = asyncio.create_task(self._take_groups())

    async def stop(self) -> None:
        """Take everything that has arrived, finish sending, and stop."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        await self._sender.stop()
        await self._brakes.stop()
        self._thread.shutdown(wait=True)
        self._objects.close()

    async def take(self, wanted: Wanted, *, answer_within_s: float = 0.8) -> Taken:
        """Take a request. When this returns, the ledger holds it.

        Args:
            wanted: The request.
            answer_within_s: Seconds to wait for Ittybit's answer, from the call on. 0: return as
                soon as the ledger holds the request.

        Raises:
            RequestRefused: Something is wrong with the request; nothing was taken.
            IdempotencyConflict: Its Idempotency-Key came with another body before.
            MayBeTaken: The commit had begun and its end is not known. Sent again, with its
                Idempotency-Key if it has one, the request makes nothing twice.
            LedgerUnavailable: The ledger cannot be reached, or is too slow; nothing was taken.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + answer_within_s
        try:
            if not wanted.is_identified:
                wanted = replace(wanted, item=await self._objects.identified(wanted.item))
            order = self._orders.order(wanted)
            refuse_loops(order.planned.item, order.planned.jobs, self._watched)
        except RequestRefused:
            if (taken := await self.taken_before(wanted)) is None:
                raise
            return taken
        if self._closing or len(self._pending) >= _MAX_PENDING:
            raise _busy("This receiver is stopping." if self._closing else "Too many wait.")
        waiting = _Waiting(order, loop.create_future())
        self._pending.append(waiting)
        self._arrived.set()
        jobs = await waiting.future
        sent = await self._outcomes(jobs, until - loop.time())
        return Taken(
            jobs[0].job.batch_id,
            [_taken(ordered, sent.get(ordered.job.id)) for ordered in jobs],
        )

    async def taken_before(self, wanted: Wanted) -> Taken | None:
        """Find the jobs of a request that was taken before, whatever has changed since.

        Args:
            wanted: The request.

        Returns:
            Its jobs; None if none was taken with its Idempotency-Key and its body.

        Raises:
            LedgerUnavailable: The ledger cannot be reached.
        """
        key, digest = identity_of(wanted)
        if key is None or self._closing:
            return None
        # Not in the thread of the commits: they may wait for a lock.
        jobs = await asyncio.to_thread(self._ledger.read, find_taken, key, digest)
        if jobs is None:
            return None
        return Taken(jobs[0].job.batch_id, [_taken(each, None) for each in jobs])

    async def _outcomes(self, jobs: Sequence[OrderedJob], wait_s: float) -> Mapping[int, Sent]:
        """Wait for Ittybit's answers about the jobs that this process sends."""
        futures = {
            each.job.id: future
            for each in jobs
            if (future := self._sender.outcome(each.job.id)) is not None
        }
        if futures and wait_s > 0:
            await asyncio.wait(futures.values(), timeout=wait_s)
        return {job: future.result() for job, future in futures.items() if future.done()}

    async def _take_groups(self) -> None:
        while self._pending or not self._closing:
            await self._arrived.wait()
            self._arrived.clear()
            await asyncio.sleep(0)  # requests that are already here join the same group
            while group := self._next_group():
                await self._take_group(group)

    def _next_group(self) -> list[_Waiting]:
        jobs = size = 0
        for waiting in self._pending[:_MAX_GROUP]:
            jobs += len(waiting.order.planned.jobs)
            if size and jobs > _MAX_GROUP_JOBS:
                break
            size += 1
        group = self._pending[:size]
        del self._pending[:size]
        return group

    async def _take_group(self, group: Sequence[_Waiting]) -> None:
        commit = asyncio.create_task(self._commit(group))
        while not (await asyncio.wait({commit}, timeout=_MAX_COMMIT_S))[0]:
            self._give_up(group, _busy("The database takes too long."))
        try:
            commit.result()
        except LedgerUnavailable as error:
            logger.warning("Requests were not taken: %s", error)
            self._give_up(group, error)
        except Exception as error:  # the loop must survive; the callers are told
            logger.exception("A request could not be taken.")
            _fail(group, error)

    def _give_up(self, group: Sequence[_Waiting], why: LedgerUnavailable) -> None:
        """Tell the callers of a group that it was not taken, or may have been.

        Requests that arrived meanwhile would wait as long and fail, too.
        """
        with self._deciding:
            for waiting in group:
                waiting.given_up = not waiting.committing
        open_ = [waiting for waiting in group if waiting.committing]
        _fail(open_, MayBeTaken("The ledger has not said in time whether it took the request."))
        _fail([*group, *self._pending], why)
        self._pending.clear()

    def _take_unless_given_up(
        self, transaction: Transaction, group: Sequence[_Waiting], *, send: bool
    ) -> Receipt:
        """Take a group, or nothing if its callers were told so while the database waited."""
        if any(waiting.given_up for waiting in group):
            raise _GivenUp
        receipt = take(
            transaction, [waiting.order for waiting in group], send=send, lease_s=LEASE_S
        )
        with self._deciding:
            if any(waiting.given_up for waiting in group):
                raise _GivenUp
            for waiting in group:
                waiting.committing = True
        return receipt

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        try:
            receipt = await self._ledger.write_from_loop(
                self._thread, self._take_unless_given_up, group, send=self._sender.may_claim
            )
        except _GivenUp:
            return
        except LedgerUnavailable:
            raise
        except DestinationTaken as error:
            if len(group) == 1:
                refused = RequestRefused(
                    HTTPStatus.CONFLICT, "profile", error.message, error.remedy
                )
                _fail(group, refused)
                return
            await self._commit_each(group)
        except Exception:  # of any kind: one request breaks the group, the others must not fail
            if len(group) == 1:
                raise
            logger.exception("Taking a group of %d requests one by one.", len(group))
            await self._commit_each(group)
        else:
            self._deliver(group, receipt)

    async def _commit_each(self, group: Sequence[_Waiting]) -> None:
        for waiting in group:
            waiting.committing = False  # the commit of the group has failed, and left nothing
            try:
                await self._commit([waiting])
            except LedgerUnavailable:
                raise
            except Exception as error:
                logger.exception("A request could not be taken.")
                _fail([waiting], error)

    def _deliver(self, group: Sequence[_Waiting], receipt: Receipt) -> None:
        if receipt.submissions:
            self._sender.send(receipt.submissions)
        for waiting, answer in zip(group, receipt.answers, strict=True):
            if isinstance(answer, KeyReused):
                _fail([waiting], IdempotencyConflict())
            elif not waiting.future.done():  # otherwise the caller has gone
                waiting.future.set_result(answer)


def _taken(ordered: OrderedJob, sent: Sent | None) -> TakenJob:
    job = ordered.job
    task, status = job.task_id, job.status
    error = job.error
    if sent is not None and sent.task_id is not None:
        task = sent.task_id
    elif sent is not None and sent.error is not None:
        status, error = "failed", sent.error
    return TakenJob(
        job_id=str(job.id),
        task_id=task,
        rendition=job.rendition,
        kind=job.kind,
        status=status,
        output_url=job.output_url,
        error=error,
        created=ordered.created,
    )


def _busy(why: str) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"The request was not taken. {why}",
        remedy="Send it again in a few seconds: nothing is made twice.",
    )


def _fail(waiting: Sequence[_Waiting], error: Exception) -> None:
    for each in waiting:
        if not each.future.done():
            each.future.set_exception(error)
