"""Ittybit's responses to submissions: what each one means, and how they are recorded."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ittybatch.engine.lookup import MadeElsewhere
from ittybatch.engine.sending import Sending, is_on_its_way
from ittybatch.ittybit.errors import IttybitError, KeyConflict
from ittybatch.ittybit.failures import Refusal, classify_refusal
from ittybatch.ittybit.retrying import MayRepeat
from ittybatch.ittybit.webhook import MalformedWebhook, parse_webhook
from ittybatch.ledger import Transaction
from ittybatch.ledger.asking import Problem, note_problems
from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.inbox import settle_early
from ittybatch.ledger.runs import wake_chunks_at
from ittybatch.ledger.submission import (
    Accepted,
    Refused,
    Submission,
    postpone_unanswered,
    record_accepted,
    record_refused,
    return_unsent,
)

_UNKNOWN_WAIT_S = 15.0
# The service counts as down after this many failures in a row. The client has retried each of them.
_TRIP_AFTER = 20
_LIMITED_WAIT_S = 30.0
_MAX_REASON_CHARS = 2000
_KEYS_IN_USE = (
    "Ittybit has seen the Idempotency-Keys of these jobs with other requests, and lists no jobs "
    "of this batch for them. No new job was made. Find out what else uses this Ittybit project, "
    "then resume."
)


@dataclass(slots=True)
class Responses:
    """Responses to one batch's submissions that are not in the ledger yet.

    All but the first two hold pairs of a job and the number of its attempt.

    Args:
        accepted: Ittybit has the job.
        refused: Ittybit will never accept the job.
        unknown: Ittybit may have the job; it is sent again under the same key.
        problems: What went wrong with some of these.
        unsent: The job was not sent, or refused for a reason that is not its own.
        limited: Not accepted because of the rate limit.
    """

    accepted: list[Accepted] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unknown: list[tuple[int, int]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
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

    def assume_sent(self) -> None:
        """Call no job unsent: the leg was replaced, and its successor may have sent them."""
        self.unknown += self.unsent + self.limited
        self.unsent.clear()
        self.limited.clear()

    @property
    def put_back(self) -> int:
        """The number of jobs that go back to planned."""
        return len(self.unsent) + len(self.limited)


def record_responses(
    transaction: Transaction,
    responses: Responses,
    batch: str,
    stopped: str | None,
    *,
    wakes_legs: bool = False,
) -> None:
    """Record the responses to submissions of one batch.

    Args:
        transaction: The transaction to do it in.
        responses: The responses.
        batch: The batch.
        stopped: Why nothing more of the batch may be sent, if so: it is held.
        wakes_legs: Whether legs are woken for jobs that are put back. The leg that sent them
            needs no waking.
    """
    early = record_accepted(transaction, responses.accepted)
    jobs = []
    for body in early:
        try:
            jobs.append(parse_webhook(body).job)
        except MalformedWebhook:
            continue  # it stays in the inbox
    if jobs:
        settle_early(transaction, jobs)
    record_refused(transaction, responses.refused)
    postpone_unanswered(transaction, responses.unknown, _UNKNOWN_WAIT_S)
    note_problems(transaction, responses.problems)
    limited = return_unsent(transaction, responses.limited, _LIMITED_WAIT_S)
    unsent = return_unsent(transaction, responses.unsent, 0)
    if wakes_legs and (limited or unsent):
        later = transaction.now + timedelta(seconds=_LIMITED_WAIT_S)
        times = dict.fromkeys(limited, later) | dict.fromkeys(unsent, transaction.now)
        wake_chunks_at(transaction, times)
    if stopped:
        hold_batch(transaction, batch, stopped)


class Submitter:
    """Sends submissions of one batch, and collects the responses.

    Args:
        sending: Sends one submission.

    Attributes:
        stopped: Why nothing more of the batch may be sent, if a response said so.
        tripped: What the service answered last, if it seems to be down.
        consecutive_failures: Submissions in a row that the service did not answer as it should,
            although the client tried them often enough.
        answered: Whether the service has answered a submission as it should.
    """

    def __init__(self, sending: Sending) -> None:
        self._sending = sending
        self._responses = Responses()
        self._conflicts = 0
        self.stopped: str | None = None
        self.tripped: str | None = None
        self.consecutive_failures = 0
        self.answered = False

    @property
    def stopping(self) -> bool:
        """Whether nothing more may be sent."""
        return bool(self.stopped or self.tripped)

    def take_responses(self) -> Responses:
        """Return the responses since the last call."""
        responses, self._responses = self._responses, Responses()
        return responses

    def leave(self, submission: Submission, *, sent_before: bool = False) -> None:
        """Leave a submission unsent.

        Args:
            submission: The submission.
            sent_before: Whether an earlier leg may have sent it: then Ittybit may have its job.
        """
        left = self._responses.unknown if sent_before else self._responses.unsent
        left.append((submission.job_id, submission.attempt))

    async def send(
        self,
        submission: Submission,
        *,
        sent_before: bool = False,
        cancelled_at: datetime | None = None,
        may_repeat: MayRepeat | None = None,
    ) -> None:
        """Send a submission, and note the response.

        Args:
            submission: The submission.
            sent_before: Whether an earlier leg may have sent it.
            cancelled_at: When its batch was cancelled, if it was: then only look its job up.
            may_repeat: Asked before the request is sent again: its batch may be stopped by then.
        """
        sent = (submission.job_id, submission.attempt)
        task: str | None
        cut_short = False

        async def repeats() -> bool:
            nonlocal cut_short
            cut_short = may_repeat is not None and not await may_repeat()
            return not cut_short

        try:
            if cancelled_at is None:
                task = await self._sending.task_of(
                    submission, sent_before=sent_before, may_repeat=repeats
                )
            else:
                task = await self._sending.found_again(submission)
        except IttybitError as error:
            self._note_failure(sent, error, sent_before=sent_before, tried_enough=not cut_short)
            return
        except MadeElsewhere as elsewhere:
            # This request was refused; only an earlier one may have been accepted.
            self.leave(submission, sent_before=sent_before)
            self.stopped = str(elsewhere)
            return
        self._note_answer()
        if task is not None:
            self._responses.accepted.append(Accepted(*sent, task))
        else:
            self.leave(submission, sent_before=is_on_its_way(submission, cancelled_at))

    def _note_failure(
        self, sent: tuple[int, int], error: IttybitError, *, sent_before: bool, tried_enough: bool
    ) -> None:
        responses = self._responses
        match classify_refusal(error):
            case Refusal.FAIL:
                self._note_answer()
                reason = error.message[:_MAX_REASON_CHARS]
                responses.refused.append(Refused(*sent, error.kind, reason))
            case Refusal.LATER:
                (responses.unknown if sent_before else responses.limited).append(sent)
                if tried_enough:
                    self._note_trouble(error)
            case Refusal.UNKNOWN:
                responses.unknown.append(sent)
                responses.problems.append(Problem(sent[0], error.message))
                if isinstance(error, KeyConflict):
                    self._note_conflict(error)
                elif tried_enough:
                    self._note_trouble(error)
            case Refusal.STOP:
                unknown = error.outcome_unknown or sent_before
                (responses.unknown if unknown else responses.unsent).append(sent)
                self.stopped = str(error)

    def _note_answer(self) -> None:
        self.consecutive_failures = 0
        self.answered = True

    def _note_conflict(self, error: KeyConflict) -> None:
        """Stop after many key conflicts. They do not mean that the service is down."""
        self.answered = True
        self._conflicts += 1
        if self._conflicts >= _TRIP_AFTER:
            self.stopped = f"{_KEYS_IN_USE} {error.message}"

    def _note_trouble(self, error: IttybitError) -> None:
        self.consecutive_failures += 1
        if self.consecutive_failures >= _TRIP_AFTER:
            self.tripped = str(error)
