"""Any order of claims, answers, crashes, deliveries, polls and cancels keeps the invariants.

Each run has seeds of its own, and a failure prints how to make it again. For minutes of it:
`python -m tests.ledger.long 600`.
"""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import String, and_, cast, delete, literal, select, update

from ittybatch.ittybit.job import Job as RemoteJob
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.chunks import finish_chunk, release_chunks
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.identity import chunk_owner
from ittybatch.ledger.inbox import Arrival, receive, settle_early
from ittybatch.ledger.intake import KeyReused, take
from ittybatch.ledger.legs import begin_leg, begin_wait
from ittybatch.ledger.models import Attempt, Base, Chunk, Job, Run
from ittybatch.ledger.overdue import overdue_jobs
from ittybatch.ledger.settlement import expire, settle
from ittybatch.ledger.states import AttemptState, ChunkState, JobState, RunState
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
from tests.ledger import library
from tests.ledger.run_machine import RunMachine
from tests.ledger.whole import unfinished_batches

NAMES = [f"{letter}.mov" for letter in "abcdef"]
ENDINGS = st.sampled_from(["succeeded", "retryable", "permanent"])


class Service:
    """Ittybit as the ledger may rely on it: a key makes one job, and each job ends one way."""

    def __init__(self) -> None:
        self.by_key: dict[str, str] = {}
        self.sent: dict[str, Submission] = {}
        self.endings: dict[str, str] = {}

    def create(self, submission: Submission) -> str:
        task = self.by_key.setdefault(submission.idempotency_key, f"task-{len(self.by_key)}")
        self.sent[task] = submission
        return task

    def outcome(self, task: str) -> RemoteJob:
        sent = self.sent[task]
        marks = {"batch_id": sent.batch_id, "job_id": sent.job_key, "attempt": sent.attempt}
        match self.endings[task]:
            case "succeeded":
                job = library.remote(task, metadata=marks)
            case "retryable":
                job = library.failed(task)
            case _:
                job = library.failed(task, "invalid_input", "could not decode")
        object.__setattr__(job, "metadata", marks)
        return job


class LedgerMachine(RuleBasedStateMachine):
    """What processes, crashes and the wire may do to a ledger, in any order.

    No choice depends on the ledger's state: batches and times differ each time that Hypothesis
    plays an example again, and it takes choices that differ for a mistake. A rule that finds
    nothing to do does nothing.
    """

    ledger: Ledger

    def __init__(self) -> None:
        super().__init__()
        self.service = Service()
        self.claims: list[Submission] = []
        self.returned: list[Submission] = []
        self.tasks: list[str] = []
        self.batches: list[str] = []
        self.succeeded: set[int] = set()

    @initialize()
    def an_empty_ledger(self) -> None:
        def clear(tx: Transaction) -> None:
            for table in reversed(Base.metadata.sorted_tables):
                tx.execute(delete(table))

        self.ledger.write(clear)

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4))
    def a_batch_is_planned_and_released(self, names: list[str]) -> None:
        jobs = [library.job(name, attempts=2) for name in names]
        batch = library.planned_batch(self.ledger, *jobs, chunk_size=2)
        self.batches.append(batch)
        self.ledger.write(release_chunks, batch, 10)

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4), sends=st.booleans())
    def requests_come(self, names: list[str], *, sends: bool) -> None:
        """At the same time, the same one twice perhaps; their sender may die at once."""
        orders = [library.order(library.job(name, attempts=2)) for name in names]
        receipt = self.ledger.write(take, orders, send=sends, lease_s=60.0)
        self.claims += receipt.submissions
        for answer in receipt.answers:
            assert not isinstance(answer, KeyReused)
            batch = answer[0].job.batch_id
            if batch not in self.batches:
                self.batches.append(batch)

    @rule(number=st.integers(0, 3))
    def a_day_ends(self, number: int) -> None:
        self.ledger.write(library.end_of_day)
        if self.batches:
            batch = self.batches[number % len(self.batches)]
            self.ledger.write(release_chunks, batch, 10)

    @rule(number=st.integers(0, 3), limit=st.integers(1, 3))
    def a_leg_claims(self, number: int, limit: int) -> None:
        if chunks := self._chunks():
            self._everything_is_due()
            self.claims += self.ledger.write(claim_due, chunks[number % len(chunks)], limit)

    @rule(which=st.integers(0, 99), recorded=st.booleans(), ending=ENDINGS)
    def a_submission_is_accepted(self, which: int, *, recorded: bool, ending: str) -> None:
        """And its answer is recorded, or the process dies before that."""
        if not self.claims:
            return
        sent = self.claims.pop(which % len(self.claims))
        task = self.service.create(sent)
        self.service.endings.setdefault(task, ending)
        if recorded:
            self._record(sent, task)
        self.tasks.append(task)

    @rule(which=st.integers(0, 99), how=st.sampled_from(["refused", "unsent", "unknown", "died"]))
    def a_submission_fails(self, which: int, how: str) -> None:
        if not self.claims:
            return
        sent = self.claims.pop(which % len(self.claims))
        made = sent.idempotency_key in self.service.by_key
        if how == "refused" and not made:
            self.ledger.write(record_refused, [Refused(sent.job_id, sent.attempt, "x", "no")])
        elif how == "unsent" and not made:
            self.ledger.write(return_unsent, [(sent.job_id, sent.attempt)], 0)
            self.returned.append(sent)
        elif how == "unknown":
            self.ledger.write(postpone_unanswered, [(sent.job_id, sent.attempt)], 5)

    @rule(which=st.integers(0, 99), recorded=st.booleans(), ending=ENDINGS)
    def a_returned_submission_leaves_all_the_same(
        self, which: int, *, recorded: bool, ending: str
    ) -> None:
        """Its process was slow, and did not hear that another one had returned it."""
        if not self.returned:
            return
        sent = self.returned.pop(which % len(self.returned))
        task = self.service.create(sent)
        self.service.endings.setdefault(task, ending)
        if recorded:
            self._record(sent, task)
        self.tasks.append(task)

    @rule(number=st.integers(0, 3), ending=ENDINGS)
    def the_next_leg_sends_again_what_was_left(self, number: int, ending: str) -> None:
        if not (chunks := self._chunks()):
            return
        self._everything_is_due()
        for sent in self.ledger.read(unanswered, chunks[number % len(chunks)]):
            task = self.service.create(sent)
            self.service.endings.setdefault(task, ending)
            self._record(sent, task)

    @rule(which=st.integers(0, 99), times=st.integers(1, 3))
    def a_webhook_arrives(self, which: int, times: int) -> None:
        if not self.tasks:
            return
        task = self.tasks[which % len(self.tasks)]
        job = self.service.outcome(task)
        self.ledger.write(receive, [Arrival(f"{task}".encode(), job)] * times)

    @rule(some=st.lists(st.integers(0, 99), min_size=1, max_size=4))
    def a_poll_answers(self, some: list[int]) -> None:
        if self.tasks:
            tasks = [self.tasks[which % len(self.tasks)] for which in some]
            self.ledger.write(settle, [self.service.outcome(task) for task in tasks])

    @rule(number=st.integers(0, 9))
    def a_deadline_passes(self, number: int) -> None:
        self.ledger.write(
            lambda tx: tx.execute(update(Job).values(deadline_at=tx.now - timedelta(seconds=1)))
        )
        overdue = self.ledger.read(overdue_jobs, silent_s=10**9)
        if overdue:
            self.ledger.write(expire, overdue[number % len(overdue)].id)

    @rule(number=st.integers(0, 9), how=st.sampled_from(["hold", "resume", "cancel"]))
    def an_operator_steers(self, number: int, how: str) -> None:
        unfinished = set(self.ledger.read(unfinished_batches))
        batches = [batch for batch in self.batches if batch in unfinished]
        if not batches:
            return
        batch = batches[number % len(batches)]
        match how:
            case "hold":
                self.ledger.write(hold_batch, batch, "402")
            case "resume":
                self.ledger.write(resume_batch, batch)
            case _:
                self.ledger.write(cancel_batch, batch, "enough")

    @rule(number=st.integers(0, 3))
    def a_leg_waits(self, number: int) -> None:
        if chunks := self._chunks():
            chunk = chunks[number % len(chunks)]
            leg = self.ledger.write(begin_leg, chunk_owner(chunk), "run")
            assert leg is not None
            if not self.ledger.write(finish_chunk, chunk):
                self.ledger.write(begin_wait, leg)

    @invariant()
    def counters_equal_rows(self) -> None:
        for batch in self.ledger.read(lambda tx: tx.rows(library.all_batches())):
            assert self.ledger.write(recount, batch.id) == []

    @invariant()
    def no_job_is_live_or_done_twice(self) -> None:
        rows = self._jobs()
        holders = Counter(
            row.job_key
            for row in rows
            if not JobState(row.state).terminal or row.state == JobState.SUCCEEDED
        )
        assert all(count == 1 for count in holders.values())
        assert all(row.claim for row in rows if row.state == JobState.SUCCEEDED)

    @invariant()
    def every_key_that_was_sent_is_in_the_ledger_first(self) -> None:
        keys = {
            row.idempotency_key
            for row in self.ledger.read(lambda tx: tx.rows(select(Attempt.idempotency_key)))
        }
        assert set(self.service.by_key) <= keys

    @invariant()
    def whatever_is_in_flight_can_end(self) -> None:
        """An attempt ends once: what is reported of an ended one would change nothing."""
        rows = self.ledger.read(
            lambda tx: tx.rows(
                select(Attempt.state)
                .join(Job, and_(Job.id == Attempt.job_id, Job.attempt == Attempt.number))
                .where(Job.state.in_([state.value for state in JobState if state.in_flight]))
            )
        )
        assert not any(AttemptState(row.state).ended for row in rows)

    @invariant()
    def what_succeeded_stays_so(self) -> None:
        now = {row.id for row in self._jobs() if row.state == JobState.SUCCEEDED}
        assert self.succeeded <= now
        self.succeeded = now

    @invariant()
    def whatever_waits_will_be_woken(self) -> None:
        """A waiting run has a time to wake at, as long as anything of it is open.

        A chunk that grows may have nothing open: the next request wakes it.
        """
        owner = literal("chunk:") + cast(Chunk.id, String)
        idle = and_(Chunk.growing.is_(True), Chunk.planned == 0, Chunk.in_flight == 0)
        rows = self.ledger.read(
            lambda tx: tx.rows(
                select(Run.wake_at)
                .join(Chunk, owner == Run.owner)
                .where(Run.state == RunState.WAITING.value, ~idle)
            )
        )
        assert all(row.wake_at is not None for row in rows)

    def _record(self, sent: Submission, task: str) -> None:
        accepted = [Accepted(sent.job_id, sent.attempt, task)]
        if self.ledger.write(record_accepted, accepted):
            self.ledger.write(settle_early, [self.service.outcome(task)])

    def _chunks(self) -> list[int]:
        open_ones = select(Chunk.id).where(Chunk.state == ChunkState.RELEASED.value)
        return [
            row.id for row in self.ledger.read(lambda tx: tx.rows(open_ones.order_by(Chunk.id)))
        ]

    def _jobs(self) -> list[Any]:
        query = select(Job.id, Job.job_key, Job.claim, Job.state)
        return self.ledger.read(lambda tx: tx.rows(query))

    def _everything_is_due(self) -> None:
        self.ledger.write(lambda tx: tx.execute(update(Job).values(not_before=None)))


def play(machine: type[LedgerMachine | RunMachine], ledger: Ledger, examples: int) -> None:
    """Let Hypothesis play everything that the machine allows."""
    run_state_machine_as_test(
        type("Machine", (machine,), {"ledger": ledger}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(600)
def test_any_order_of_events_keeps_the_invariants(ledger: Ledger) -> None:
    """Hypothesis plays processes, crashes and the wire."""
    play(LedgerMachine, ledger, examples=30)


@pytest.mark.timeout(600)
def test_no_batch_stands_still_whatever_happens_to_its_runs(ledger: Ledger) -> None:
    """Hypothesis plays processes that die anywhere, an operator, Prefect's page and the waker."""
    play(RunMachine, ledger, examples=25)


def test_a_run_resumed_on_prefects_page_after_its_process_died_goes_on(ledger: Ledger) -> None:
    """Prefect has it Scheduled, the ledger awake: the waker leaves it to a worker."""
    machine = type("Machine", (RunMachine,), {"ledger": ledger})()
    machine.an_empty_ledger()
    machine.a_batch_begins(pages=[["a"]], options={}, breaks_at=None, ask_first=False)
    (flow_run,) = machine.prefect.states
    machine.prefect.suspend(flow_run)
    machine.a_process_dies(which=0, seen=False)
    machine.prefect.resume(flow_run)

    machine.the_waker_makes_a_round()

    machine.every_owner_has_a_run_or_an_end()
    assert list(machine.prefect.states) == [flow_run]
    machine.a_worker_starts_a_run(which=0)
    machine.every_owner_has_a_run_or_an_end()
    machine.teardown()
