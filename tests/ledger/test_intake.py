"""Taking requests: what is new is claimed at once, and what exists is answered."""

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.accepting import IntakeSpec
from ittybatch.ledger.batches import end_batch
from ittybatch.ledger.brakes import trip
from ittybatch.ledger.chunks import finish_chunk, release_chunks
from ittybatch.ledger.control import cancel_batch, hold_batch, resume_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.identity import batch_owner, chunk_owner
from ittybatch.ledger.intake import DestinationTaken, KeyReused, Order, OrderedJob, Receipt, take
from ittybatch.ledger.legs import begin_leg, begin_wait, postpone_idle
from ittybatch.ledger.models import Attempt, Batch, Chunk, Follower, Item, Job, Run
from ittybatch.ledger.plan import PlannedItem
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.quarantine import release
from ittybatch.ledger.results import all_job_rows
from ittybatch.ledger.runs import ready_runs, unbound_runs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, ChunkState, JobState, RunState
from ittybatch.ledger.submission import Refused as RefusedSubmission
from ittybatch.ledger.submission import claim_due, record_refused, return_unsent, unanswered
from ittybatch.ledger.sweep import find_broken
from ittybatch.profiles import Item as SourceItem
from ittybatch.profiles import JobSpec
from tests.ledger import library

LEASE_S = 60.0


def spec(digest: str = "d1", **options: Any) -> IntakeSpec:  # noqa: ANN401
    return IntakeSpec("web", library.PROFILE, options, digest)


def order(*jobs: JobSpec, fingerprint: str | None = "1", **changes: Any) -> Order:  # noqa: ANN401
    given = {"spec": spec(), "planned": PlannedItem(SourceItem(jobs[0].input, fingerprint), jobs)}
    return Order(**{**given, **changes})


def taken(ledger: Ledger, *orders: Order, send: bool = True) -> Receipt:
    return ledger.write(take, orders, send=send, lease_s=LEASE_S)


def answer(receipt: Receipt, place: int = 0) -> Sequence[OrderedJob]:
    found = receipt.answers[place]
    assert not isinstance(found, KeyReused)
    return found


def rows(ledger: Ledger, table: Any) -> list[Any]:  # noqa: ANN401
    first = next(iter(table.__table__.primary_key.columns))
    return ledger.read(lambda tx: tx.rows(select(*table.__table__.columns).order_by(first)))


def accept(ledger: Ledger, receipt: Receipt, prefix: str = "task") -> None:
    library.accept(ledger, receipt.submissions, prefix)


def later(ledger: Ledger, **by: float) -> None:
    """Move the ends of all leases into the past."""

    def shift(tx: Transaction) -> None:
        then = tx.now - timedelta(**by)
        tx.execute(update(Job).where(Job.not_before.is_not(None)).values(not_before=then))
        tx.execute(update(Run).where(Run.wake_at.is_not(None)).values(wake_at=then))

    ledger.write(shift)


def end_of_day(ledger: Ledger) -> None:
    ledger.write(lambda tx: tx.execute(update(Batch).values(accepts_until=tx.now)))


# What is new.


def test_the_first_request_of_a_day_opens_its_batch(ledger: Ledger) -> None:
    """Running, scanned, with a growing chunk, and with runs that the waker creates."""
    receipt = taken(ledger, order(library.job("a.mov")))
    [batch] = rows(ledger, Batch)
    now = ledger.read(lambda tx: tx.now)
    assert (batch.state, batch.scan_done, batch.source["type"]) == ("running", True, "requests")
    assert batch.accepts_until > now
    assert (batch.accepts_until - timedelta(days=1)).strftime("%Y-%m-%d") == batch.source["day"]
    assert batch.accepts_until.strftime("%H:%M:%S") == "00:00:00"
    [chunk] = rows(ledger, Chunk)
    assert (chunk.state, chunk.growing, chunk.number) == (ChunkState.RELEASED, True, 1)
    owners = {run.owner: run.state for run in rows(ledger, Run)}
    assert owners == {
        batch_owner(batch.id): RunState.STARTING,
        chunk_owner(chunk.id): RunState.STARTING,
    }
    assert len(ledger.read(unbound_runs, 0)) == 2
    assert answer(receipt)[0].job.batch_id == batch.id
    assert ledger.read(find_broken, 60.0) == []


def test_a_key_is_in_the_ledger_before_it_is_sent(ledger: Ledger) -> None:
    """The job is submitting, under a lease; only then the caller learns what to send."""
    receipt = taken(ledger, order(library.job("a.mov")))
    [submission] = receipt.submissions
    [attempt] = rows(ledger, Attempt)
    [job] = rows(ledger, Job)
    assert attempt.idempotency_key == submission.idempotency_key
    assert (job.state, job.attempt, job.not_before) == (
        JobState.SUBMITTING,
        1,
        receipt.lease_until,
    )
    assert job.deadline_at > receipt.lease_until
    [chunk] = rows(ledger, Chunk)
    assert (chunk.in_flight, chunk.planned, chunk.sent, chunk.items) == (1, 0, 1, 1)
    assert ledger.write(recount, submission.batch_id) == []


def test_a_leg_sends_the_same_request_as_the_taker(ledger: Ledger) -> None:
    """Ittybit compares the bodies under a key: both have to be equal, in every field."""
    wanted = library.job("a.mov", metadata={"media_id": 7, "b": "x"}, options={"z": 1, "height": 2})
    [ours] = taken(ledger, order(wanted)).submissions
    later(ledger, seconds=1)
    [theirs] = ledger.read(unanswered, rows(ledger, Chunk)[0].id)
    assert ours == theirs
    assert list(ours.options) == list(theirs.options)


def test_during_the_lease_no_leg_sends_it(ledger: Ledger) -> None:
    """Afterwards the chunk's leg does, under the same key."""
    [submission] = taken(ledger, order(library.job("a.mov"))).submissions
    [chunk] = rows(ledger, Chunk)
    assert ledger.read(unanswered, chunk.id) == []
    assert ledger.write(claim_due, chunk.id, 10) == []
    later(ledger, seconds=1)
    [again] = ledger.read(unanswered, chunk.id)
    assert again.idempotency_key == submission.idempotency_key


def test_requests_of_a_day_share_a_batch_and_its_chunk(ledger: Ledger) -> None:
    """Whether they come together or one after the other; items are numbered through."""
    taken(ledger, order(library.job("a.mov")), order(library.job("b.mov")))
    taken(ledger, order(library.job("c.mov")))
    assert len(rows(ledger, Batch)) == len(rows(ledger, Chunk)) == 1
    assert [row.number for row in rows(ledger, Item)] == [0, 1, 2]


def test_a_full_chunk_stops_growing(ledger: Ledger) -> None:
    """Also in the middle of a group; then it is done when its jobs are."""
    small = spec(chunk_size=2)
    names = ["a.mov", "b.mov", "c.mov", "d.mov", "e.mov"]
    receipt = taken(ledger, *(order(library.job(name), spec=small) for name in names))
    chunks = rows(ledger, Chunk)
    assert [(chunk.items, chunk.growing) for chunk in chunks] == [(2, False), (2, False), (1, True)]
    accept(ledger, receipt)
    ledger.write(settle, [library.remote(f"task-{number}") for number in range(5)])
    assert [ledger.write(finish_chunk, chunk.id) for chunk in chunks] == [True, True, False]
    taken(ledger, order(library.job("f.mov"), spec=small), order(library.job("g.mov"), spec=small))
    assert [(row.items, row.growing) for row in rows(ledger, Chunk)] == [
        (2, False),
        (2, False),
        (2, False),
        (1, True),
    ]
    assert [row.number for row in rows(ledger, Item)] == list(range(7))


def test_a_settled_chunk_is_woken_when_it_stops_growing(ledger: Ledger) -> None:
    """Nothing else would let its run end."""
    small = spec(chunk_size=1)
    receipt = taken(ledger, order(library.job("a.mov"), spec=small))
    accept(ledger, receipt)
    ledger.write(settle, [library.remote("task-0")])
    [chunk] = rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    assert wake_at(ledger, chunk.id) is None
    taken(ledger, order(library.job("b.mov"), spec=small))
    assert wake_at(ledger, chunk.id) is not None


def test_a_changed_profile_opens_a_batch_of_its_own(ledger: Ledger) -> None:
    """The profile of a batch is frozen; the digest says which batch a request belongs to."""
    taken(ledger, order(library.job("a.mov")), order(library.job("b.mov"), spec=spec("d2")))
    taken(ledger, order(library.job("c.mov"), spec=spec("d2")))
    assert {row.source["digest"] for row in rows(ledger, Batch)} == {"d1", "d2"}


def test_two_receivers_open_one_batch_between_them(ledger: Ledger) -> None:
    """Both take the day's first request at the same time; nothing is opened or made twice."""
    together = threading.Barrier(4)
    failures: list[BaseException] = []

    def receiver(number: int) -> None:
        try:
            together.wait()
            taken(ledger, order(library.job("a.mov")), order(library.job(f"{number}.mov")))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=receiver, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rows(ledger, Batch)) == 1
    assert len(rows(ledger, Job)) == 5
    assert ledger.write(recount, rows(ledger, Batch)[0].id) == []


# What exists.


def test_doubled_requests_in_one_group_make_one_job(ledger: Ledger) -> None:
    """The first made it, and both are answered with it."""
    receipt = taken(ledger, *[order(library.job("a.mov"))] * 3)
    jobs = [answer(receipt, place)[0] for place in range(3)]
    assert len({each.job.id for each in jobs}) == 1
    assert [each.created for each in jobs] == [True, False, False]
    assert len(receipt.submissions) == 1


def test_what_is_in_flight_is_answered_with_its_job(ledger: Ledger) -> None:
    """With Ittybit's id as soon as it is known."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    receipt = taken(ledger, order(library.job("a.mov")))
    [found] = answer(receipt)
    assert (found.job.status, found.job.task_id, found.created) == ("processing", "task-0", False)
    assert receipt.submissions == []


def test_what_a_nightly_batch_makes_is_not_made_again(ledger: Ledger) -> None:
    """Planned, in flight or done there: the answer is that batch's job."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    [found] = answer(taken(ledger, order(library.job("a.mov"))))
    assert (found.job.batch_id, found.created) == (batch, False)
    assert len(rows(ledger, Job)) == 1


def test_what_succeeded_is_answered_with_its_output(ledger: Ledger) -> None:
    """And nothing is sent."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    receipt = taken(ledger, order(library.job("a.mov")))
    [found] = answer(receipt)
    assert (found.job.status, found.job.output_url) == (
        "succeeded",
        "https://cdn.test/out.mp4",
    )
    assert receipt.submissions == []


def test_again_makes_what_has_ended_once_more(ledger: Ledger) -> None:
    """Under a new key, in the same batch; what is in flight is not made a second time."""
    first = taken(ledger, order(library.job("a.mov")))
    accept(ledger, first)
    insist = order(library.job("a.mov"), again=True)
    [found] = answer(taken(ledger, insist))
    assert not found.created
    ledger.write(settle, [library.remote("task-0")])
    receipt = taken(ledger, insist, insist)
    assert [answer(receipt, place)[0].created for place in range(2)] == [True, False]
    [submission] = receipt.submissions
    assert submission.attempt == 2
    assert submission.idempotency_key != first.submissions[0].idempotency_key
    accept(ledger, receipt, "again")
    ledger.write(settle, [library.remote("again-0")])
    assert [job.claim for job in rows(ledger, Job)] == [None, True]


def test_a_plain_request_beside_one_that_insists_gets_the_output(ledger: Ledger) -> None:
    """It did not ask to pay again, so it does not wait for the new attempt either."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    receipt = taken(ledger, order(library.job("a.mov"), again=True), order(library.job("a.mov")))
    insisting, plain = (answer(receipt, place)[0] for place in range(2))
    assert (insisting.created, insisting.job.status) == (True, "processing")
    assert (plain.created, plain.job.status) == (False, "succeeded")


def test_again_that_is_never_sent_gives_the_claim_back(ledger: Ledger) -> None:
    """A cancelled batch would otherwise let the next request pay for what exists."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    receipt = taken(ledger, order(library.job("a.mov"), again=True), send=False)
    batch = answer(receipt)[0].job.batch_id
    ledger.write(cancel_batch, batch, "enough")
    assert [job.claim for job in rows(ledger, Job)] == [True, None]
    [found] = answer(taken(ledger, order(library.job("a.mov"))))
    assert found.job.status == "succeeded"


def test_what_failed_for_good_is_held_back(ledger: Ledger) -> None:
    """It is answered with its error, until it is released, or the request insists."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.failed("task-0", "invalid_input", "no video stream")])
    [found] = answer(taken(ledger, order(library.job("a.mov"))))
    assert (found.job.status, found.job.error, found.created) == (
        "failed",
        "no video stream",
        False,
    )
    assert release(ledger) == 1
    [found] = answer(taken(ledger, order(library.job("a.mov"))))
    assert found.created


def test_what_ran_out_of_attempts_is_made_again(ledger: Ledger) -> None:
    """Another try may succeed; its number, and so its key, is the next."""
    accept(ledger, taken(ledger, order(library.job("a.mov", attempts=1))))
    ledger.write(settle, [library.failed("task-0")])
    [submission] = taken(ledger, order(library.job("a.mov", attempts=1))).submissions
    assert submission.attempt == 2


def test_what_a_held_batch_has_not_sent_is_taken_over(ledger: Ledger) -> None:
    """Its requests' metadata follows: their rows get the result all the same."""
    batch = library.planned_batch(ledger, library.job("a.mov"))
    ledger.write(hold_batch, batch, "402")
    receipt = taken(ledger, order(library.job("a.mov", metadata={"media_id": "2"})))
    [found] = answer(receipt)
    assert (found.created, len(receipt.submissions)) == (True, 1)
    old, new = rows(ledger, Job)
    assert (old.state, old.claim, new.claim) == (JobState.CANCELLED, None, True)
    [follower] = rows(ledger, Follower)
    assert (follower.job_id, follower.user_metadata) == (new.id, '{"show":"pilot"}')


# Requests that follow a job.


def test_other_metadata_follows_the_job(ledger: Ledger) -> None:
    """Once for each: the same metadata again adds nothing."""
    taken(ledger, order(library.job("a.mov", metadata={"id": "1"})))
    for _ in range(2):
        taken(
            ledger,
            order(library.job("a.mov", metadata={"id": "1"})),
            order(library.job("a.mov", metadata={"id": "2"})),
            order(library.job("a.mov", metadata={"id": "2"})),
            order(library.job("a.mov", metadata={"id": "3"})),
        )
    followers = sorted(row.user_metadata for row in rows(ledger, Follower))
    assert followers == ['{"id":"2"}', '{"id":"3"}']


def test_followers_go_on_with_the_job_that_replaces_theirs(ledger: Ledger) -> None:
    """A retry of a failed job reports to everyone who waits for it."""
    accept(ledger, taken(ledger, order(library.job("a.mov", attempts=1, metadata={"id": "1"}))))
    taken(ledger, order(library.job("a.mov", metadata={"id": "2"})))
    ledger.write(settle, [library.failed("task-0", "invalid_input", "no such codec")])
    [old] = rows(ledger, Job)
    retry = library.new_batch(ledger, source={"type": "failed", "batch": "x"})
    page = library.page(library.job("a.mov", metadata={"id": "1"}), again=[old.id])
    ledger.write(plan_page, retry.id, page, after=None, chunk_size=10)
    new = rows(ledger, Job)[-1]
    assert new.id != old.id
    assert {row.job_id: row.user_metadata for row in rows(ledger, Follower)} == {
        old.id: '{"id":"2"}',
        new.id: '{"id":"2"}',
    }


# Idempotency-Keys.


def test_a_key_gets_the_jobs_of_its_first_request(ledger: Ledger) -> None:
    """Also if they have ended meanwhile, or another request insisted on new ones."""
    keyed = order(library.job("a.mov"), again=True, key="k" * 64, digest="body")
    first = taken(ledger, keyed)
    accept(ledger, first)
    ledger.write(settle, [library.remote("task-0")])
    receipt = taken(ledger, keyed)
    [found] = answer(receipt)
    assert (found.job.id, found.created) == (answer(first)[0].job.id, True)
    assert (found.job.status, receipt.submissions) == ("succeeded", [])


def test_a_key_with_another_body_is_refused(ledger: Ledger) -> None:
    """In a later group, and in the same; the others of the group are taken."""
    taken(ledger, order(library.job("a.mov"), key="k", digest="body"))
    receipt = taken(
        ledger,
        order(library.job("b.mov"), key="k", digest="other"),
        order(library.job("c.mov"), key="m", digest="one"),
        order(library.job("d.mov"), key="m", digest="two"),
        order(library.job("c.mov"), key="m", digest="one"),
    )
    assert isinstance(receipt.answers[0], KeyReused)
    assert isinstance(receipt.answers[2], KeyReused)
    assert answer(receipt, 1)[0].job.id == answer(receipt, 3)[0].job.id
    assert [row.input for row in all_job_rows(ledger, rows(ledger, Batch)[0].id)] == [
        "s3://media/a.mov",
        "s3://media/c.mov",
    ]


# Destinations.


def test_two_items_never_write_one_destination(ledger: Ledger) -> None:
    """The error names both, and nothing of the group is stored."""
    to: dict[str, Any] = {"destination": "s3://out/a.mp4"}
    with pytest.raises(DestinationTaken, match=r"s3://media/b\.mov.*s3://out/a\.mp4"):
        taken(ledger, order(library.job("a.mov", **to)), order(library.job("b.mov", **to)))
    assert rows(ledger, Job) == rows(ledger, Batch) == []
    taken(ledger, order(library.job("a.mov", **to)))
    with pytest.raises(DestinationTaken, match=r"the output of s3://media/a\.mov"):
        taken(ledger, order(library.job("b.mov", **to)))


def test_an_item_may_replace_its_own_output(ledger: Ledger) -> None:
    """A new version of an object, or a job that is made again."""
    to: dict[str, Any] = {"destination": "s3://out/a.mp4"}
    accept(ledger, taken(ledger, order(library.job("a.mov", **to))))
    ledger.write(settle, [library.remote("task-0")])
    assert answer(taken(ledger, order(library.job("a.mov", **to), again=True)))[0].created
    version = order(library.job("a.mov", job_key="f" * 32, **to), fingerprint="2")
    assert answer(taken(ledger, version))[0].created


# Batches that may not send.


def test_a_held_batch_takes_requests_and_sends_nothing(ledger: Ledger) -> None:
    """Until it is resumed: then a leg sends them. It does not take over its own jobs."""
    batch = answer(taken(ledger, order(library.job("a.mov"))))[0].job.batch_id
    ledger.write(hold_batch, batch, "402")
    receipt = taken(ledger, order(library.job("b.mov")))
    [found] = answer(receipt)
    assert (found.job.status, found.job.batch_id, receipt.submissions) == ("held", batch, [])
    again = answer(taken(ledger, order(library.job("b.mov"))))[0]
    assert (again.job.id, again.created) == (found.job.id, False)
    ledger.write(resume_batch, batch)
    [claimed] = ledger.write(claim_due, rows(ledger, Chunk)[0].id, 10)
    assert claimed.job_id == found.job.id


def test_a_chunk_begun_in_a_held_batch_has_a_run_after_the_resume(ledger: Ledger) -> None:
    """A held batch has no runs, but every chunk needs one when it goes on."""
    small = spec(chunk_size=1)
    batch = answer(taken(ledger, order(library.job("a.mov"), spec=small)))[0].job.batch_id
    ledger.write(hold_batch, batch, "402")
    taken(ledger, order(library.job("b.mov"), spec=small))
    assert ledger.read(find_broken, 60.0) == []
    ledger.write(resume_batch, batch)
    assert ledger.read(find_broken, 60.0) == []
    starting = {run.owner for run in rows(ledger, Run) if run.state == RunState.STARTING}
    assert {chunk_owner(chunk.id) for chunk in rows(ledger, Chunk)} <= starting


def test_a_cancelled_batch_takes_nothing_more(ledger: Ledger) -> None:
    """The next request opens another; the old one collects what it sent and is done."""
    receipt = taken(ledger, order(library.job("a.mov")))
    accept(ledger, receipt)
    old = receipt.submissions[0].batch_id
    ledger.write(cancel_batch, old, "enough")
    [found] = answer(taken(ledger, order(library.job("b.mov"))))
    assert found.job.batch_id != old
    chunk = rows(ledger, Chunk)[0]
    assert (chunk.growing, chunk.state) == (False, ChunkState.RELEASED)
    ledger.write(settle, [library.remote("task-0")])
    assert ledger.write(finish_chunk, chunk.id)


def test_a_settled_batch_that_is_cancelled_is_done_at_once(ledger: Ledger) -> None:
    """Its growing chunk has nothing to wait for."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    ledger.write(cancel_batch, rows(ledger, Batch)[0].id, "enough")
    assert [chunk.state for chunk in rows(ledger, Chunk)] == [ChunkState.DONE]


def test_the_ceiling_holds_the_batch_with_the_first_job_above_it(ledger: Ledger) -> None:
    """What fits is sent; the rest is in the ledger, and is sent after a resume."""
    limited = spec(max_submissions=2)
    names = ["a.mov", "b.mov", "c.mov"]
    receipt = taken(ledger, *(order(library.job(name), spec=limited) for name in names))
    assert len(receipt.submissions) == 2
    [batch] = rows(ledger, Batch)
    assert batch.state == BatchState.HELD
    assert "max_submissions" in batch.reason
    assert [answer(receipt, place)[0].job.status for place in range(3)] == [
        "processing",
        "processing",
        "held",
    ]


def test_several_receivers_keep_to_one_ceiling(ledger: Ledger) -> None:
    """The last submission is used once."""
    limited = spec(max_submissions=3)
    sent: list[int] = []

    def receiver(number: int) -> None:
        receipt = taken(
            ledger, *(order(library.job(f"{number}-{n}.mov"), spec=limited) for n in range(2))
        )
        sent.append(len(receipt.submissions))

    threads = [threading.Thread(target=receiver, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent) == 3
    assert len(rows(ledger, Attempt)) == 3


def test_an_open_circuit_leaves_the_jobs_to_a_leg(ledger: Ledger) -> None:
    """It is woken when the circuit may close, and probes."""
    batch = answer(taken(ledger, order(library.job("a.mov"))))[0].job.batch_id
    pause_s = ledger.write(trip, batch)
    receipt = taken(ledger, order(library.job("b.mov")))
    assert receipt.submissions == []
    [chunk] = rows(ledger, Chunk)
    woken = wake_at(ledger, chunk.id)
    now = ledger.read(lambda tx: tx.now)
    assert woken is not None
    assert 0 < (woken - now).total_seconds() <= max(pause_s, LEASE_S)


def test_a_rate_limit_is_kept_and_the_rest_left_to_a_leg(ledger: Ledger) -> None:
    """Over all receivers: they count in the ledger."""
    slow = spec(submit_per_s=2.0)
    first = taken(ledger, *(order(library.job(f"{n}.mov"), spec=slow) for n in range(3)))
    assert len(first.submissions) == 2
    second = taken(ledger, order(library.job("d.mov"), spec=slow))
    assert second.submissions == []
    [chunk] = rows(ledger, Chunk)
    assert (chunk.planned, chunk.in_flight) == (2, 2)


def test_without_a_sender_legs_send_everything(ledger: Ledger) -> None:
    """Their chunk is woken at once."""
    receipt = taken(ledger, order(library.job("a.mov")), send=False)
    assert receipt.submissions == []
    [chunk] = rows(ledger, Chunk)
    assert wake_at(ledger, chunk.id) <= ledger.read(lambda tx: tx.now)
    [claimed] = ledger.write(claim_due, chunk.id, 10)
    assert claimed.job_id == answer(receipt)[0].job.id


# Legs of a growing chunk.


def waiting(ledger: Ledger, chunk: int) -> None:
    """Let a leg of the chunk begin, find nothing to do, and wait."""
    leg = ledger.write(begin_leg, chunk_owner(chunk), f"run-{chunk}")
    assert leg is not None
    assert not ledger.write(finish_chunk, chunk)
    assert ledger.write(begin_wait, leg)


def wake_at(ledger: Ledger, chunk: int) -> Any:  # noqa: ANN401  a time, or None
    [run] = [run for run in rows(ledger, Run) if run.owner == chunk_owner(chunk)]
    return run.wake_at


def test_a_growing_chunk_with_nothing_to_do_sleeps(ledger: Ledger) -> None:
    """It is not done, nothing wakes it, and the sweep finds that right."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    [chunk] = rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    assert wake_at(ledger, chunk.id) is None
    broken = ledger.read(find_broken, 60.0)
    assert [each.owner for each in broken if each.owner.startswith("chunk:")] == []


def test_a_request_asks_for_a_leg_at_the_end_of_its_lease(ledger: Ledger) -> None:
    """In case its sender dies."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    [chunk] = rows(ledger, Chunk)
    ledger.write(settle, [library.remote("task-0")])
    waiting(ledger, chunk.id)
    receipt = taken(ledger, order(library.job("b.mov")))
    assert wake_at(ledger, chunk.id) == receipt.lease_until


def test_a_leg_that_would_find_nothing_is_postponed(ledger: Ledger) -> None:
    """The job was accepted meanwhile: the run sleeps until the job's deadline."""
    receipt = taken(ledger, order(library.job("a.mov")))
    [chunk] = rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    accept(ledger, receipt)
    later(ledger, seconds=0)
    owner = chunk_owner(chunk.id)
    assert [run.owner for run in ledger.read(ready_runs)] == [owner]
    assert ledger.write(postpone_idle, [owner]) == {owner}
    assert ledger.read(ready_runs) == []
    assert wake_at(ledger, chunk.id) == rows(ledger, Job)[0].deadline_at
    ledger.write(settle, [library.remote("task-0")])
    later(ledger, seconds=0)
    assert ledger.write(postpone_idle, [owner]) == {owner}
    assert wake_at(ledger, chunk.id) is None


def test_a_leg_with_work_is_not_postponed(ledger: Ledger) -> None:
    """Its sender died, or a retry is due."""
    taken(ledger, order(library.job("a.mov")))
    [chunk] = rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    later(ledger, seconds=1)
    assert ledger.write(postpone_idle, [chunk_owner(chunk.id)]) == set()
    assert len(ledger.read(ready_runs)) == 1


def test_what_was_put_back_is_due_for_a_leg(ledger: Ledger) -> None:
    """The taker could not send it; the end of the lease wakes the run."""
    receipt = taken(ledger, order(library.job("a.mov")))
    [chunk] = rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    ledger.write(return_unsent, [(each.job_id, each.attempt) for each in receipt.submissions], 0)
    later(ledger, seconds=1)
    assert ledger.write(postpone_idle, [chunk_owner(chunk.id)]) == set()
    assert len(ledger.write(claim_due, chunk.id, 10)) == 1


def test_the_run_of_a_held_batch_is_not_postponed(ledger: Ledger) -> None:
    """It has to be woken to see that it is held, and to end."""
    receipt = taken(ledger, order(library.job("a.mov")))
    [chunk] = rows(ledger, Chunk)
    accept(ledger, receipt)
    waiting(ledger, chunk.id)
    ledger.write(hold_batch, receipt.submissions[0].batch_id, "402")
    assert ledger.write(postpone_idle, [chunk_owner(chunk.id)]) == set()


# The end of a day.


def test_a_batch_does_not_end_while_it_takes_requests(ledger: Ledger) -> None:
    """Even if everything in it has ended; its run waits for the end of the day."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    [batch] = rows(ledger, Batch)
    assert batch_leg(ledger, batch.id, ends=False) is BatchState.RUNNING
    [run] = [run for run in rows(ledger, Run) if run.owner == batch_owner(batch.id)]
    assert (run.state, run.wake_at) == (RunState.WAITING, batch.accepts_until)


def batch_leg(ledger: Ledger, batch: str, *, ends: bool) -> BatchState:
    """What a leg of run-batch does to the ledger."""
    leg = ledger.write(begin_leg, batch_owner(batch), f"run-{batch}")
    assert leg is not None
    ledger.write(release_chunks, batch, 4)
    state = ledger.write(end_batch, batch).state
    if not ends:
        assert ledger.write(begin_wait, leg)
    return state


def test_at_the_end_of_the_day_it_ends_like_any_other(ledger: Ledger) -> None:
    """Its chunks stop growing, are woken, and are done; then it has succeeded."""
    accept(ledger, taken(ledger, order(library.job("a.mov"))))
    ledger.write(settle, [library.remote("task-0")])
    [batch], [chunk] = rows(ledger, Batch), rows(ledger, Chunk)
    waiting(ledger, chunk.id)
    end_of_day(ledger)
    assert batch_leg(ledger, batch.id, ends=False) is BatchState.RUNNING
    [closed], [settled] = rows(ledger, Batch), rows(ledger, Chunk)
    assert (closed.accepts_until, settled.growing) == (None, False)
    assert closed.counts == {"items": 1, "jobs": 1}
    assert wake_at(ledger, chunk.id) is not None
    assert ledger.write(finish_chunk, chunk.id)
    assert batch_leg(ledger, batch.id, ends=True) is BatchState.SUCCEEDED


def test_a_request_after_the_end_of_the_day_opens_the_next_batch(ledger: Ledger) -> None:
    """Whether the old one has been closed or not."""
    old = answer(taken(ledger, order(library.job("a.mov"))))[0].job.batch_id
    end_of_day(ledger)
    new = answer(taken(ledger, order(library.job("b.mov"))))[0].job.batch_id
    assert new != old
    ledger.write(release_chunks, old, 4)
    assert answer(taken(ledger, order(library.job("c.mov"))))[0].job.batch_id == new


def test_a_batch_held_over_the_end_of_its_day_closes_after_the_resume(ledger: Ledger) -> None:
    """Nothing of it is lost meanwhile."""
    receipt = taken(ledger, order(library.job("a.mov")), send=False)
    batch = answer(receipt)[0].job.batch_id
    ledger.write(hold_batch, batch, "402")
    end_of_day(ledger)
    assert ledger.read(find_broken, 60.0) == []
    ledger.write(resume_batch, batch)
    ledger.write(release_chunks, batch, 4)
    [chunk] = rows(ledger, Chunk)
    assert (chunk.growing, chunk.planned) == (False, 1)
    assert len(ledger.write(claim_due, chunk.id, 10)) == 1


def test_refused_and_retried_jobs_count_like_others(ledger: Ledger) -> None:
    """Their chunk's counters stay right, and a retry wakes it."""
    receipt = taken(ledger, order(library.job("a.mov")), order(library.job("b.mov")))
    first, second = receipt.submissions
    ledger.write(record_refused, [RefusedSubmission(first.job_id, 1, "invalid_input", "no")])
    library.accept(ledger, [second])
    ledger.write(settle, [library.failed("task-0")])
    [chunk] = rows(ledger, Chunk)
    assert (chunk.failed, chunk.planned, chunk.in_flight) == (1, 1, 0)
    assert ledger.write(recount, first.batch_id) == []
    assert wake_at(ledger, chunk.id) is not None


def test_the_requests_of_a_day_are_counted(ledger: Ledger) -> None:
    """Attempts by requests, as the ledger has them."""
    taken(ledger, *(order(library.job(f"{n}.mov")) for n in range(50)))
    count = select(func.count()).select_from(Attempt)
    assert ledger.read(lambda tx: tx.execute(count).scalar_one()) == 50
