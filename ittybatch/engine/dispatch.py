"""Dispatch: a chunk's due jobs go to Ittybit, each under a key the ledger holds already."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ittybatch.engine.pace import Pace
from ittybatch.errors import IttybatchError
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import IttybitError, KeyConflict
from ittybatch.ittybit.judgement import Refusal, judge_refusal
from ittybatch.ittybit.marks import Mark, marked_metadata
from ittybatch.ittybit.webhook import MalformedWebhook, parse_webhook
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import hold_batch
from ittybatch.ledger.brakes import Circuit, gate_of, recovered, trip
from ittybatch.ledger.inbox import settle_early
from ittybatch.ledger.submission import (
    Accepted,
    Refused,
    Submission,
    claim_due,
    postpone_unanswered,
    record_accepted,
    record_refused,
    return_unsent,
    unanswered,
)
from ittybatch.ledger.terms import terms_of
from ittybatch.profiles import Item

# Ittybit replays the first answer to a key for 24 hours; past that the same key pays again.
KEY_WINDOW = timedelta(hours=23)
_CLAIM_SIZE = 256
_CLAIM_FOR_S = 10.0
# Whoever pauses or tunes a batch should not have to wait for it.
_HEED_EVERY_S = 2.0
_RECORD_EVERY_S = 0.05
_UNKNOWN_WAIT_S = 15.0
# What was sent may still be on its way to Ittybit for so long after its sender has died.
_ON_ITS_WAY = timedelta(seconds=60)
# Failures in a row, each after the client's own retries, that mean: the service is down.
_TRIP_AFTER = 20
_LIMITED_WAIT_S = 30.0


@dataclass(slots=True)
class Dispatched:
    """What a dispatch came to."""

    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    put_back: int = 0
    stopped: str | None = None
    tripped: str | None = None
    pause_s: float = 0.0

    @property
    def total(self) -> int:
        """How many submissions were tried."""
        return self.accepted + self.refused + self.unknown + self.put_back


@dataclass(slots=True)
class _Answers:
    """Answers that the ledger does not know yet."""

    accepted: list[Accepted] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unknown: list[tuple[int, int]] = field(default_factory=list)
    unsent: list[tuple[int, int]] = field(default_factory=list)
    limited: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return (
            len(self.accepted)
            + len(self.refused)
            + len(self.unknown)
            + len(self.unsent)
            + len(self.limited)
        )


class Dispatcher:
    """Sends the due jobs of one chunk.

    Args:
        ledger: Where jobs are claimed and answers recorded.
        client: The API.
        chunk: The chunk's id.
        concurrency: Submissions in flight at once.
        webhook_url: Where Ittybit tells of a job's end, or None to poll only.
        connection_id: The storage connection that inputs are read through, if any.
        pace: How fast submissions leave, at most; the batch's own rate is in the ledger.
        on_progress: Told the state of the dispatch after each group of answers.
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
        on_progress: Callable[[Dispatched], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._chunk = chunk
        self._concurrency = concurrency
        self._webhook_url = webhook_url
        self._connection_id = connection_id
        self._pace = pace or Pace()
        self._on_progress = on_progress
        self._answers = _Answers()
        self._result = Dispatched()
        self._batch = ""
        self._cancelled_at: datetime | None = None
        self._in_a_row = 0
        self._sent_before: set[int] = set()
        self._called_off = False
        self._heeded_at = 0.0

    async def run(self) -> Dispatched:
        """Send everything that is due, and record every answer.

        Of a cancelled batch nothing is sent: what an earlier leg may have sent is looked for.

        Raises:
            LedgerUnavailable: when the database stays away. What was sent by then is sent
                again under the same keys by the next leg.
        """
        gate = self._ledger.read(gate_of, self._chunk)
        self._batch = gate.batch
        self._heed()
        if gate.circuit is Circuit.OPEN:
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

    async def _probe(self) -> bool:
        """Send one submission to see whether the service is up again."""
        group = self._unanswered() or self._ledger.write(claim_due, self._chunk, 1)
        if not group:
            return True
        await self._send(group[0])
        up = self._in_a_row == 0 and not self._result.stopped
        self._record()
        if up:
            self._ledger.write(recovered, self._batch)
        else:
            self._result.pause_s = self._ledger.write(trip, self._batch)
        return up

    async def _feed(self, queue: asyncio.Queue[Submission | None]) -> None:
        """Queue what an earlier leg left unanswered, then claim what is due, until none is."""
        for submission in self._unanswered():
            await self._turn(regardless=True)
            await queue.put(submission)
        while group := self._claim():
            for submission in group:
                if self._going_on:
                    await self._turn()
                if self._going_on:
                    await queue.put(submission)
                else:
                    self._answers.unsent.append((submission.job_id, submission.attempt))
        for _ in range(self._concurrency):
            await queue.put(None)

    def _unanswered(self) -> list[Submission]:
        """What was left without an answer, noted as sent before."""
        # Ittybit may have them: what became of them matters, whatever became of the batch.
        found = self._ledger.read(unanswered, self._chunk)
        self._sent_before.update(submission.job_id for submission in found)
        return found

    def _claim(self) -> list[Submission]:
        if not self._going_on:
            return []
        # What is claimed waits here for its turn: the slower that goes, the less of it.
        size = self._pace.most_in(_CLAIM_FOR_S, _CLAIM_SIZE)
        return self._ledger.write(claim_due, self._chunk, size)

    async def _turn(self, *, regardless: bool = False) -> None:
        """Wait for the next place in the line, at a pace that may change meanwhile.

        Args:
            regardless: Also where the batch was called off.
        """
        while True:
            if time.monotonic() - self._heeded_at >= _HEED_EVERY_S:
                self._heed()
            wait_s = self._pace.wait_s
            if wait_s <= 0 or self._stopping or (self._called_off and not regardless):
                break
            await asyncio.sleep(min(wait_s, _HEED_EVERY_S))
        self._pace.leave()

    def _heed(self) -> None:
        """Go by what the batch's operator wants by now: another pace, or none of it."""
        terms = self._ledger.read(terms_of, self._chunk)
        self._pace.go_at(terms.rate_per_s)
        self._called_off = not terms.sending
        self._cancelled_at = terms.cancelled_at
        self._heeded_at = time.monotonic()

    async def _send_all(self, queue: asyncio.Queue[Submission | None]) -> None:
        while (submission := await queue.get()) is not None:
            await self._pace.pause_over()
            before = submission.job_id in self._sent_before
            if self._going_on or (before and not self._stopping):
                await self._send(submission)
            else:
                left = self._answers.unknown if before else self._answers.unsent
                left.append((submission.job_id, submission.attempt))

    async def _record_until(self, senders: Sequence[asyncio.Task[None]]) -> None:
        """Record, by one commit for all of them, what has been answered since the last time."""
        sending = set(senders)
        while sending:
            _, sending = await asyncio.wait(sending, timeout=_RECORD_EVERY_S)
            # Not in a thread: the ledger's driver and this loop would fight for the
            # interpreter at every row, and there is nothing else to do meanwhile.
            self._record()

    async def _send(self, submission: Submission) -> None:
        sent = (submission.job_id, submission.attempt)
        try:
            look_or_send = self._task_of if self._cancelled_at is None else self._found_again
            task = await look_or_send(submission)
        except IttybitError as error:
            self._note_failure(sent, error)
            return
        self._in_a_row = 0
        if task is not None:
            self._answers.accepted.append(Accepted(*sent, task))
        elif self._is_on_its_way(submission):
            self._answers.unknown.append(sent)
        else:
            self._answers.unsent.append(sent)

    async def _task_of(self, submission: Submission) -> str:
        """Ittybit's id for a submission: found, where its key no longer protects it, or new."""
        if datetime.now(UTC) - submission.first_sent_at >= KEY_WINDOW:
            found = await self._found_again(submission)
            if found is not None:
                return found
        try:
            return await self._create(submission)
        except KeyConflict:
            # The key was used for other bytes, before a setting changed: that job is ours.
            found = await self._found_again(submission)
            if found is None:
                raise
            return found

    def _is_on_its_way(self, submission: Submission) -> bool:
        """Whether a sender that has died may have sent it just now."""
        latest = max(submission.first_sent_at, self._cancelled_at or submission.first_sent_at)
        return datetime.now(UTC) - latest < _ON_ITS_WAY

    async def _create(self, submission: Submission) -> str:
        job = await self._client.create_job(
            input=submission.input,
            kind=submission.kind,
            options=submission.options,
            output=submission.destination,
            metadata=metadata_of(submission),
            webhook_url=self._webhook_url,
            connection_id=self._connection_id,
            idempotency_key=submission.idempotency_key,
        )
        return job.id

    async def _found_again(self, submission: Submission) -> str | None:
        """Look for a submission's job by its input, kind and metadata."""
        ours = mark_of(submission)
        async for job in self._client.list_jobs(kind=submission.kind, input=submission.input):
            if Mark.read(job.metadata) == ours:
                return job.id
        return None

    def _note_failure(self, sent: tuple[int, int], error: IttybitError) -> None:
        match judge_refusal(error):
            case Refusal.FAIL:
                self._in_a_row = 0
                self._answers.refused.append(Refused(*sent, error.kind, _reason(error)))
            case Refusal.LATER:
                before = sent[0] in self._sent_before
                (self._answers.unknown if before else self._answers.limited).append(sent)
                self._note_trouble(error)
            case Refusal.UNKNOWN:
                self._answers.unknown.append(sent)
                self._note_trouble(error)
            case Refusal.STOP:
                unknown = error.outcome_unknown or sent[0] in self._sent_before
                (self._answers.unknown if unknown else self._answers.unsent).append(sent)
                self._result.stopped = str(error)

    def _note_trouble(self, error: IttybitError) -> None:
        self._in_a_row += 1
        if self._in_a_row >= _TRIP_AFTER:
            self._result.tripped = str(error)

    @property
    def _going_on(self) -> bool:
        """Whether anything is to be sent that was not sent before."""
        return not (self._stopping or self._called_off)

    @property
    def _stopping(self) -> bool:
        return bool(self._result.stopped or self._result.tripped)

    def _record(self) -> None:
        answers, self._answers = self._answers, _Answers()
        if not len(answers):
            return
        self._ledger.write(_record, answers, self._batch, self._result.stopped)
        self._result.accepted += len(answers.accepted)
        self._result.refused += len(answers.refused)
        self._result.unknown += len(answers.unknown)
        self._result.put_back += len(answers.unsent) + len(answers.limited)
        if self._on_progress:
            self._on_progress(self._result)


def metadata_of(submission: Submission) -> dict[str, Any]:
    """What Ittybit echoes in the webhook: the user's own pairs, and ours to find the job by."""
    source = Item(submission.input)
    return marked_metadata(
        submission.metadata,
        mark_of(submission),
        item=submission.item_number,
        rendition=submission.rendition,
        bucket=source.bucket,
        key=source.key,
    )


def mark_of(submission: Submission) -> Mark:
    """The mark that Ittybit's job of a submission carries."""
    return Mark(submission.batch_id, submission.job_key, submission.attempt)


def _record(transaction: Transaction, answers: _Answers, batch: str, stopped: str | None) -> None:
    early = record_accepted(transaction, answers.accepted)
    jobs = []
    for body in early:
        try:
            jobs.append(parse_webhook(body).job)
        except MalformedWebhook:
            continue  # kept in the inbox as it is
    if jobs:
        settle_early(transaction, jobs)
    record_refused(transaction, answers.refused)
    postpone_unanswered(transaction, answers.unknown, _UNKNOWN_WAIT_S)
    return_unsent(transaction, answers.unsent, 0)
    return_unsent(transaction, answers.limited, _LIMITED_WAIT_S)
    if stopped:
        hold_batch(transaction, batch, stopped)


def _reason(error: IttybitError) -> str:
    return error.message[:2000]
