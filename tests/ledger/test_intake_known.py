"""Taking requests for what exists: it is answered, and nothing is made twice."""

from typing import Any

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.control import cancel_batch, hold_batch
from ittybatch.ledger.intake import DestinationTaken, KeyReused
from ittybatch.ledger.models import Batch, Follower, Job
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.quarantine import release
from ittybatch.ledger.results import all_job_rows
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import JobState
from tests.ledger import library
from tests.ledger.orders import accept, answer, order, rows, taken


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
