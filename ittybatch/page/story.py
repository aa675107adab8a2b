"""The story of a job, attempt by attempt: what happened when, and what came of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlencode

from ittybatch.ittybit.job import JobStatus, status_of
from ittybatch.ledger.history import AttemptEvent, DeliveryEvent, ItemHistory, JobHistory, SinkEvent
from ittybatch.ledger.outbox import OutboxEvent
from ittybatch.ledger.states import AttemptState, JobState, Verdict

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_AT_ONCE_S = 1.0

VERDICTS = {
    Verdict.APPLIED: ("good", "It ended the attempt."),
    Verdict.DUPLICATE: ("idle", "It says what was known already, so it changed nothing."),
    Verdict.LATE: ("warn", "It came after the attempt had ended, so it changed nothing."),
    Verdict.PROGRESS: ("idle", "It reports progress, and ends nothing."),
    Verdict.UNKNOWN: ("warn", "When it came, no attempt was known by this id."),
    Verdict.MALFORMED: ("bad", "It could not be read."),
}
_BY_ITTYBIT = frozenset({AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.CANCELLED})
_ENDS = {
    AttemptState.SUCCEEDED: ("good", "Recorded as succeeded"),
    AttemptState.FAILED: ("bad", "Recorded as failed"),
    AttemptState.REFUSED: ("bad", "Refused by Ittybit"),
    AttemptState.CANCELLED: ("warn", "Recorded as cancelled"),
    AttemptState.EXPIRED: ("warn", "Given up: the deadline passed without a result"),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened.

    Args:
        at: When; None if the ledger does not know.
        title: What, in a few words.
        tone: `good`, `bad`, `warn`, `busy` or `idle`.
        details: Sentences about it. They may contain text from anyone.
        gap: How long after the moment before it, in words.
        webhook: Address of the webhook's body on the page, if it is one.
        future: Whether it is yet to come.
        refused_by: The sink that refused the result and can be made to try again, if one did.
    """

    at: datetime | None
    title: str
    tone: str = "idle"
    details: Sequence[str] = ()
    gap: str = ""
    webhook: str | None = None
    future: bool = False
    refused_by: str = ""


@dataclass(frozen=True, slots=True)
class Chapter:
    """The moments of one attempt, or of what came before or after all attempts."""

    title: str
    moments: Sequence[Moment] = field(default_factory=list)
    task_id: str | None = None
    key: str | None = None


def story_of(item: ItemHistory, job: JobHistory) -> list[Chapter]:
    """Tell what happened to a job: planned, each attempt with its webhooks, then the sinks.

    Args:
        item: The job's item.
        job: The job.
    """
    chapters = []
    if item.planned_at is not None:
        chapters.append(Chapter("Planned", [Moment(item.planned_at, "Planned with its chunk")]))
    last = job.attempts[-1] if job.attempts else None
    for attempt in job.attempts:
        moments = list(_attempt(job, attempt, is_last=attempt is last))
        of_many = f" of {max(job.allowed, job.made)}" if attempt is last and job.allowed > 1 else ""
        title = f"Attempt {attempt.number}{of_many}"
        chapters.append(
            Chapter(title, _in_order(moments), attempt.task_id, attempt.idempotency_key)
        )
    if sinks := [moment for each in job.sinks for moment in _sink(each)]:
        chapters.append(Chapter("Delivered to sinks", _in_order(sinks)))
    if ahead := list(_ahead(job)):
        chapters.append(Chapter("Next", ahead))
    return _with_gaps(chapters)


def gap_words(seconds: float) -> str:
    """How long after the moment before: `12 s later`; empty if they are the same second."""
    if abs(seconds) < _AT_ONCE_S:
        return ""
    # Rounded first: 59.6 s are 1 min, and not 60 s.
    amount = round(abs(seconds))
    if amount < _MINUTE_S:
        text = f"{amount} s"
    elif amount < _HOUR_S:
        minutes, rest = divmod(amount, _MINUTE_S)
        text = f"{minutes} min {rest} s" if rest else f"{minutes} min"
    elif amount < 2 * _DAY_S:
        hours, rest = divmod(round(amount / _MINUTE_S), _MINUTE_S)
        text = f"{hours} h {rest} min" if rest else f"{hours} h"
    else:
        text = f"{amount / _DAY_S:.0f} d"
    return f"{text} {'later' if seconds > 0 else 'earlier'}"


def _attempt(job: JobHistory, attempt: AttemptEvent, *, is_last: bool) -> Iterator[Moment]:
    # An attempt is claimed, with its key, just before it is sent.
    yield Moment(attempt.sent_at, "Sent to Ittybit", "busy")
    if attempt.task_id is not None:
        # The ledger keeps only the newest attempt's time. After a webhook that came before the
        # answer to the submission, it is the webhook's.
        yield Moment(job.submitted_at if is_last else None, "Accepted by Ittybit", "busy")
    if is_last and attempt.state in _BY_ITTYBIT and _is_before(job, attempt):
        yield Moment(job.completed_at, "Ended at Ittybit, by its own clock")
    yield from (_webhook(each) for each in job.deliveries if each.task_id == attempt.task_id)
    if attempt.state.ended and attempt.completed_at is not None:
        tone, title = _ENDS[attempt.state]
        details = [text for text in (attempt.error_message, _kind(attempt.error_kind)) if text]
        if is_last and job.has_poll_answer:
            details.append("Ittybit said so when it was asked, not by a webhook.")
        yield Moment(attempt.completed_at, title, tone, details)


def _is_before(job: JobHistory, attempt: AttemptEvent) -> bool:
    """Whether the job has Ittybit's own time of its end, and not that of its record."""
    if job.completed_at is None or attempt.completed_at is None:
        return False
    return job.completed_at < attempt.completed_at


def _webhook(delivery: DeliveryEvent) -> Moment:
    tone, effect = VERDICTS[delivery.verdict]
    if delivery.verdict is Verdict.APPLIED:
        tone = "good" if status_of(delivery.status or "") is JobStatus.SUCCEEDED else "bad"
    details = [effect]
    if delivery.times > 1:
        took_s = (delivery.last_received_at - delivery.received_at).total_seconds()
        last = gap_words(took_s)
        details.append(
            f"The same bytes came {delivery.times} times{f', the last {last}' if last else ''}."
        )
    status = f": {delivery.status}" if delivery.status else ""
    address = urlencode({"task": delivery.task_id, "digest": delivery.digest})
    return Moment(
        delivery.received_at,
        f"Webhook{status}",
        tone,
        details,
        webhook=f"/page/webhook?{address}",
    )


def _sink(event: SinkEvent) -> Iterator[Moment]:
    what = "the job's end" if event.event is OutboxEvent.ENDED else "that Ittybit has accepted it"
    if event.follower:
        what += ", for another request for the same job"
    tries = f"It took {event.tries} tries." if event.tries > 1 else ""
    if event.refused_at is not None:
        yield Moment(
            event.refused_at,
            f"{event.sink} refused {what}",
            "bad",
            [
                *([event.error] if event.error else []),
                f"Correct the cause, then deliver it again: `ittybatch sinks retry {event.sink}`.",
            ],
            refused_by=event.sink,
        )
    elif event.delivered_at is not None:
        yield Moment(
            event.delivered_at, f"{event.sink} took {what}", "good", [tries] if tries else []
        )
    else:
        details = ["It is delivered as soon as the sink is available."]
        yield Moment(
            event.created_at,
            f"{event.sink} is to be told {what}",
            "busy",
            [*([event.error] if event.error else []), *details],
        )


def _ahead(job: JobHistory) -> Iterator[Moment]:
    if job.state is JobState.PLANNED:
        details = [job.last_problem] if job.last_problem else []
        if job.not_before is not None:
            yield Moment(job.not_before, "Sent again at the earliest", "busy", details, future=True)
        else:
            yield Moment(None, "Waits until its batch sends it", "idle", details, future=True)
    elif job.state.in_flight:
        details = (
            [f"The last request about it failed: {job.last_problem}"] if job.last_problem else []
        )
        if job.polled_at is not None:
            yield Moment(job.polled_at, "Ittybit was last asked about it", "idle", details)
            details = []
        if job.deadline_at is not None:
            yield Moment(
                job.deadline_at,
                "Given up if there is no result until then",
                "idle",
                details,
                future=True,
            )


def _kind(kind: str | None) -> str:
    return f"Kind of error: {kind}" if kind else ""


def _in_order(moments: Sequence[Moment]) -> list[Moment]:
    """By time; a moment without one stays after the moment before it."""
    found: list[tuple[datetime, Moment]] = []
    for moment in moments:
        at = moment.at or (found[-1][0] if found else None)
        if at is not None:
            found.append((at, moment))
    return [moment for _, moment in sorted(found, key=lambda each: each[0])]


def _with_gaps(chapters: Sequence[Chapter]) -> list[Chapter]:
    found = []
    before: datetime | None = None
    for chapter in chapters:
        moments = []
        for moment in chapter.moments:
            gap = ""
            if moment.at is not None and not moment.future:
                if before is not None:
                    gap = gap_words((moment.at - before).total_seconds())
                before = moment.at
            moments.append(replace(moment, gap=gap))
        found.append(replace(chapter, moments=moments))
    return found
