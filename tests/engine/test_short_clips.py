"""Posters of clips that end before the poster's `start`: they get the first frame."""

import asyncio
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ittybatch.engine.dispatch import Dispatched, Dispatcher
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.failures import is_past_end
from ittybatch.ittybit.job import read_job
from ittybatch.ledger import Ledger
from ittybatch.ledger.brakes import hold_if_alike
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import claim_due
from ittybatch.profiles import Item, JobSpec, load_profile
from tests.ledger import library
from tests.sandbox.harness import KEY, Running, make_media, running, serving, wait_for

PROFILES = Path(__file__).parents[2] / "deployments" / "profiles"
PAST_END = "start is 2 s, but the input ends at 1 s"


def posters(count: int, **changes: object) -> list[JobSpec]:
    """Posters of the shipped profile `web`, which begins them at two seconds."""
    web = load_profile("web", PROFILES)
    found = [
        job
        for number in range(count)
        for job in web.jobs_for(Item(f"s3://media/{number}.mov"))
        if job.rendition == "poster"
    ]
    for job in found:
        for name, value in changes.items():
            setattr(job, name, value)
    return found


@pytest.mark.parametrize(
    "message",
    [
        PAST_END,
        "the input has nothing at the asked time",
        "Start time exceeds the duration of the input",
        "timestamp is beyond the end of the media",
        "start is out of range",
    ],
)
def test_a_start_past_the_end_is_recognised(message: str) -> None:
    """In several wordings: Ittybit documents none."""
    assert is_past_end("invalid_input", message)
    assert not is_past_end("internal_error", message)


@pytest.mark.parametrize(
    "message",
    [
        "could not decode the input",
        "access denied",
        "",
        "the upload ended after 3 s",
        "could not start the download: HTTP 503 after 3 tries",
        "failed to start reading: HTTP 403 after 3 tries",
        "could not start download: connection reset after 30 s",
    ],
)
def test_other_failures_are_not_taken_for_it(message: str) -> None:
    """They would fail again at any frame."""
    assert not is_past_end("invalid_input", message)


def test_a_short_clips_poster_is_made_of_its_first_frame(ledger: Ledger) -> None:
    """At once, under a key of its own, and as the same job."""
    chunk, [first] = library.submitted(ledger, *posters(1))
    assert first.options["start"] == 2
    ledger.write(settle, [library.failed("task-0", "invalid_input", PAST_END)])
    [second] = ledger.write(claim_due, chunk, 10)
    assert "start" not in second.options
    assert {**second.options, "start": first.options["start"]} == first.options
    assert second.job_key == first.job_key
    assert second.idempotency_key != first.idempotency_key
    library.accept(ledger, [second], "again")
    ledger.write(settle, [library.remote("again-0")])
    [row] = library.rows(ledger, first.batch_id)
    assert (row.state, row.attempts) == (JobState.SUCCEEDED, 2)


def test_the_first_frame_is_tried_once(ledger: Ledger) -> None:
    """A file without any frame fails for good."""
    chunk, [first] = library.submitted(ledger, *posters(1))
    ledger.write(settle, [library.failed("task-0", "invalid_input", PAST_END)])
    library.accept(ledger, ledger.write(claim_due, chunk, 10), "again")
    ledger.write(settle, [library.failed("again-0", "invalid_input", PAST_END)])
    [row] = library.rows(ledger, first.batch_id)
    assert (row.state, row.attempts) == (JobState.FAILED, 2)


def test_one_attempt_means_one(ledger: Ledger) -> None:
    """`attempts: 1` allows no second frame; the options stay as they were."""
    _, [only] = library.submitted(ledger, *posters(1, attempts=1))
    ledger.write(settle, [library.failed("task-0", "invalid_input", PAST_END)])
    [row] = library.rows(ledger, only.batch_id)
    assert row.state is JobState.FAILED


def test_a_library_of_short_clips_is_never_held(ledger: Ledger) -> None:
    """However many of them fail alike."""
    chunk, _ = library.submitted(ledger, *posters(40, attempts=1))
    batch = library.place(ledger, chunk).batch_id
    short = [library.failed(f"task-{n}", "invalid_input", PAST_END) for n in range(40)]
    ledger.write(settle, short)
    assert not ledger.write(hold_if_alike, batch)


def test_cuts_of_short_clips_that_fail_alike_hold_their_batch(ledger: Ledger) -> None:
    """Only a picture has a frame to fall back to: a wrong `start` of videos would be paid for."""
    chunk, _ = library.submitted(ledger, *(library.job(f"{n}.mov") for n in range(40)))
    batch = library.place(ledger, chunk).batch_id
    short = [library.failed(f"task-{n}", "invalid_input", PAST_END) for n in range(40)]
    ledger.write(settle, short)
    assert ledger.write(hold_if_alike, batch)


def test_the_sandbox_makes_the_poster_of_a_real_short_clip(ledger: Ledger, tmp_path: Path) -> None:
    """From the profile to the picture: the first job fails, the second succeeds."""
    film = ("-f", "lavfi", "-i", "testsrc=duration=1:size=128x96:rate=10")
    make_media(tmp_path / "0.mp4", *film, "-c:v", "libx264", "-pix_fmt", "yuv420p")

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return str(tmp_path / Path(super().translate_path(path)).name)

        def log_message(self, *_args: object) -> None:
            return

    with serving(Handler) as url, running() as sandbox:
        web = load_profile("web", PROFILES)
        jobs = web.jobs_for(Item(f"{url}/0.mp4"))
        batch = library.planned_batch(ledger, *(job for job in jobs if job.rendition == "poster"))
        chunk = library.released_chunk(ledger, batch)
        ends = [_send_and_settle(ledger, sandbox, chunk) for _ in range(2)]
    assert ends == ["failed", "succeeded"]
    [row] = library.rows(ledger, batch)
    assert (row.state, row.attempts) == (JobState.SUCCEEDED, 2)


def _send_and_settle(ledger: Ledger, sandbox: Running, chunk: int) -> str:
    async def dispatch() -> Dispatched:
        async with IttybitClient(KEY, base_url=sandbox.url) as client:
            return await Dispatcher(ledger, client, chunk).run()

    assert asyncio.run(dispatch()).accepted == 1
    task = sandbox.client.get("/_sandbox/jobs").json()[-1]["id"]
    job = read_job(wait_for(lambda: _ended(sandbox, task)))
    ledger.write(settle, [job])
    return job.raw_status


def _ended(sandbox: Running, task: str) -> dict[str, Any] | None:
    job: dict[str, Any] = sandbox.client.get(f"/jobs/{task}").json()
    return job if read_job(job).status.terminal else None
