"""A request is in the ledger before it is sent, and is answered with Ittybit's ids."""

import asyncio
from dataclasses import replace

import pytest

from ittybatch.engine.naming import source_name
from ittybatch.intake.intake import (
    IdempotencyConflict,
    Intake,
    LedgerUnavailable,
    RequestRefused,
    Taken,
    TaskSpec,
    Wanted,
)
from ittybatch.ledger import Ledger
from ittybatch.ledger.counters import recount
from ittybatch.ledger.job_lookup import lookup_job
from ittybatch.ledger.queries import batch_status, find_batch
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import BatchState, ChunkState, JobState, RunState
from ittybatch.profiles import Item, Profile
from ittybatch.settings import Settings
from tests.intake import harness
from tests.intake.harness import by_kind, by_profile, take
from tests.ledger import library
from tests.ledger.whole import accepted_attempts
from tests.sandbox.harness import Running

SOUND = """
renditions:
  - {name: sound, kind: audio, when: {media: [video, audio]}}
"""


def test_a_request_is_answered_with_ittybits_id(ledger: Ledger, settings: Settings) -> None:
    """The job was claimed, sent and accepted, and its batch is today's."""
    [taken] = take(ledger, settings, by_kind("a.mov", metadata={"media_id": 7}))
    [job] = taken.jobs
    assert job.task_id
    assert (job.status, job.kind, job.rendition, job.created) == (
        "processing",
        "video",
        "video",
        True,
    )
    [row] = harness.jobs(ledger)
    assert (row.state, row.task_id, row.attempt) == (JobState.SUBMITTED, job.task_id, 1)
    [batch] = harness.batches(ledger)
    assert (batch.id, batch.state, batch.name) == (
        taken.batch_id,
        BatchState.RUNNING,
        f"requests, {batch.created_at.day} {batch.created_at:%b}",
    )
    [chunk] = harness.chunks(ledger)
    assert (chunk.state, chunk.growing, chunk.in_flight, chunk.sent, chunk.items) == (
        ChunkState.RELEASED,
        True,
        1,
        1,
        1,
    )
    assert {run.state for run in harness.runs(ledger)} == {RunState.STARTING}


def test_a_profile_makes_all_its_renditions(
    ledger: Ledger, settings: Settings, sandbox: Running
) -> None:
    """In the order of the profile, each with an id of its own."""
    [taken] = take(ledger, settings, by_profile("a.mov"))
    assert [job.rendition for job in taken.jobs] == ["hd", "sd", "sound"]
    ours = {job["id"]: job for job in harness.sandbox_jobs(sandbox)}
    assert {job.task_id for job in taken.jobs} <= ours.keys()
    accepted = ledger.read(accepted_attempts, taken.batch_id)
    assert all(ours[task]["idempotency_key"] == key for key, task in accepted.items() if task)


def test_the_same_request_at_the_same_time_is_made_once(ledger: Ledger, settings: Settings) -> None:
    """Both callers get the same ids; one of them made the jobs."""
    both = take(ledger, settings, by_profile("a.mov"), by_profile("a.mov"))
    first, second = ([job.task_id for job in taken.jobs] for taken in both)
    assert first == second
    assert None not in first
    assert [job.created for taken in both for job in taken.jobs] == [True] * 3 + [False] * 3
    assert len(harness.jobs(ledger)) == 3


def test_what_was_made_is_answered_with_its_output(
    ledger: Ledger, settings: Settings, sandbox: Running
) -> None:
    """And nothing more is sent, until a request insists."""
    [first] = take(ledger, settings, by_kind("a.mov"))
    task = first.jobs[0].task_id
    assert task is not None
    ledger.write(settle, [library.remote(task)])
    [second] = take(ledger, settings, by_kind("a.mov"))
    assert (second.jobs[0].status, second.jobs[0].created) == ("succeeded", False)
    assert second.jobs[0].output_url == "https://cdn.test/out.mp4"
    assert len(harness.sandbox_jobs(sandbox)) == 1
    [third] = take(ledger, settings, by_kind("a.mov", again=True))
    assert third.jobs[0].created
    assert third.jobs[0].task_id not in {None, task}
    assert len(harness.sandbox_jobs(sandbox)) == 2


def test_the_users_metadata_arrives_as_given(
    ledger: Ledger, settings: Settings, sandbox: Running
) -> None:
    """Numbers as numbers; the item's own pairs beside the request's."""
    item = Item("https://example.com/a.mov", metadata={"table": "jobs"})
    wanted = Wanted(item, tasks=[TaskSpec("video")], metadata={"job_id": 7, "flag": True})
    take(ledger, settings, wanted)
    [job] = harness.sandbox_jobs(sandbox)
    assert job["metadata"].items() >= {"table": "jobs", "job_id": 7, "flag": True}.items()


def test_several_tasks_of_one_upload_are_answered_in_their_order(
    ledger: Ledger, settings: Settings
) -> None:
    """The same task twice is one job, answered twice."""
    tasks = [
        TaskSpec("video", {"height": 480}),
        TaskSpec("audio"),
        TaskSpec("video", {"height": "480"}),
    ]
    [taken] = take(ledger, settings, Wanted(Item("https://example.com/a.mov"), tasks=tasks))
    assert [job.kind for job in taken.jobs] == ["video", "audio", "video"]
    assert taken.jobs[0].task_id == taken.jobs[2].task_id
    assert [job.created for job in taken.jobs] == [True, True, False]
    assert len(harness.jobs(ledger)) == 2


def test_nothing_is_waited_for_on_request(ledger: Ledger, settings: Settings) -> None:
    """An event or a queue needs no id: its answer comes with the commit, and the job goes on."""

    async def work(intake: Intake) -> Taken:
        return await intake.take(by_kind("a.mov"), answer_within_s=0)

    taken = harness.run(ledger, settings, work)
    assert (taken.jobs[0].task_id, taken.jobs[0].status) == (None, "processing")
    [job] = harness.jobs(ledger)
    assert job.state == JobState.SUBMITTED, "stopping finishes what is under way"


def test_a_key_gets_the_same_answer_again(ledger: Ledger, settings: Settings) -> None:
    """With another body it is refused; the stored key is a digest."""
    keyed = by_kind("a.mov", idempotency_key="of-mine", body_digest="1", again=True)
    [first] = take(ledger, settings, keyed)
    [second] = take(ledger, settings, keyed)
    assert first == second
    other = by_kind("b.mov", idempotency_key="of-mine", body_digest="2")
    with pytest.raises(IdempotencyConflict) as refused:
        take(ledger, settings, other)
    assert refused.value.status == 409
    assert len(harness.jobs(ledger)) == 1


@pytest.mark.parametrize(
    "changed", [None, SOUND.replace("audio]", "image]")], ids=["removed", "narrowed"]
)
def test_a_key_gets_its_answer_also_when_its_profile_would_now_refuse_it(
    ledger: Ledger, settings: Settings, changed: str | None
) -> None:
    """Its jobs are made and paid for. Another request with that key is still refused."""
    keyed = by_profile("a.mp3", idempotency_key="of-mine", body_digest="1")
    path = settings.profiles_dir / "web.yaml"
    path.write_text(SOUND)
    [first] = take(ledger, settings, keyed)
    if changed is None:
        path.unlink()
    else:
        path.write_text(changed)
    [second] = take(ledger, settings, keyed)
    assert first == second
    for key, body in (("of-mine", "2"), ("of-others", "1"), (None, "1")):
        with pytest.raises(RequestRefused) as refused:
            take(ledger, settings, replace(keyed, idempotency_key=key, body_digest=body))
        assert refused.value.status == 422
    assert len(harness.jobs(ledger)) == len(first.jobs) == 1


def test_requests_that_come_together_share_commits(ledger: Ledger, settings: Settings) -> None:
    """A hundred callers, each answered with ids of its own."""
    taken = take(ledger, settings, *(by_kind(f"{number}.mov") for number in range(100)))
    tasks = {each.jobs[0].task_id for each in taken}
    assert len(tasks) == 100
    assert None not in tasks
    [batch] = harness.batches(ledger)
    assert ledger.write(recount, batch.id) == []


def test_two_receivers_make_everything_once(
    ledger: Ledger, settings: Settings, sandbox: Running
) -> None:
    """Each has the same requests at the same time."""

    async def both() -> list[Taken]:
        receivers = [Intake(ledger, settings), Intake(ledger, settings)]
        for each in receivers:
            await each.start()
        wanted = [by_profile(f"{number}.mov") for number in range(20)]
        taken = await asyncio.gather(
            *(each.take(one, answer_within_s=10) for one in wanted for each in receivers)
        )
        for each in receivers:
            await each.stop()
        return list(taken)

    taken = asyncio.run(both())
    assert len({job.job_id for each in taken for job in each.jobs}) == 60
    assert len(harness.batches(ledger)) == 1
    seen = harness.sandbox_jobs(sandbox)
    assert len(seen) == 60
    assert all(job["created_by_key"] == 1 for job in seen)


def test_a_job_is_found_by_either_id(ledger: Ledger, settings: Settings) -> None:
    """With what the guide shows of it; anything else is not found."""
    [taken] = take(ledger, settings, by_kind("a.mov", metadata={"media_id": 7}))
    [job] = taken.jobs
    assert job.task_id is not None
    found = ledger.read(lookup_job, job.task_id)
    assert found is not None
    assert found == ledger.read(lookup_job, job.job_id)
    assert (found.input_url, found.status, found.metadata) == (
        "https://example.com/a.mov",
        "processing",
        {"media_id": 7},
    )
    assert (found.batch_id, found.output_url, found.completed_at) == (taken.batch_id, None, None)
    ledger.write(settle, [library.remote(job.task_id)])
    found = ledger.read(lookup_job, job.job_id)
    assert found is not None
    assert (found.status, found.error) == ("succeeded", None)
    for unknown in ("", "task_unknown", "0", "999", "9" * 30, "1 OR 1=1", "\x00", "\u0661"):
        assert ledger.read(lookup_job, unknown) is None


def test_its_batch_is_like_any_other(ledger: Ledger, settings: Settings) -> None:
    """Its status names the source, and its jobs are in the report's rows."""
    [taken] = take(ledger, settings, by_profile("a.mov"))
    status = ledger.read(batch_status, taken.batch_id)
    today = status.created_at
    assert status.name == f"web requests, {today.day} {today:%b}"
    assert (status.profile, status.counts["jobs"]) == ("web", 3)
    assert source_name(status.source) == f"requests of {status.source['day']}"
    assert ledger.read(find_batch, "latest") == taken.batch_id
    assert len(library.rows(ledger, taken.batch_id)) == 3
    Profile.from_mapping(harness.batches(ledger)[0].profile)


def test_a_stopped_intake_takes_nothing(ledger: Ledger, settings: Settings) -> None:
    """The caller is told to send it again."""

    async def work() -> None:
        intake = Intake(ledger, settings)
        await intake.start()
        await intake.stop()
        await intake.take(by_kind("a.mov"))

    with pytest.raises(LedgerUnavailable, match="Send it again"):
        asyncio.run(work())
    assert harness.jobs(ledger) == []
