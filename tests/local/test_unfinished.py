"""The demo's broken file: what Ittybit says about it, and what the demo says and returns."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from typing import Any

import pytest
import yaml

from ittybatch.settings import Settings
from ittybatch_local.media import UNFINISHED, make_unfinished
from ittybatch_local.unfinished import exit_status, explain
from tests.sandbox.harness import running, serving

Jobs = list[dict[str, Any]]
REASON = "the input breaks off after 3.0 s of the 6.0 s that its header declares; upload it again"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The unfinished file on a server, made as the demo makes it."""
    folder = tmp_path_factory.mktemp("unfinished")
    written = make_unfinished(folder).stat().st_mtime_ns
    assert make_unfinished(folder).stat().st_mtime_ns == written, "it is made once"
    with serving(partial(SimpleHTTPRequestHandler, directory=str(folder))) as served:  # type: ignore[arg-type]
        yield f"{served}/{UNFINISHED}"


@pytest.fixture(scope="module", params=["web", "streaming", "podcast"])
def jobs(request: pytest.FixtureRequest, url: str) -> Jobs:
    """The file's jobs with a stock profile by the local Ittybit, as in the report of a batch."""
    profile = Settings().profiles_dir / f"{request.param}.yaml"
    found: Jobs = []
    with running() as sandbox:
        for each in yaml.safe_load(profile.read_text())["renditions"]:
            if each.get("when", {}).get("media") not in ("image", "audio"):
                asked = {"kind": each["kind"], "options": each["options"]}
                job = sandbox.run(input=url, **asked)
                outcome = {name: job.get(name) for name in ("status", "error")}
                found.append({**asked, "input": url, **outcome})
    return found


def test_what_needs_the_whole_file_fails_for_good_and_says_why(jobs: Jobs) -> None:
    """Each with the same reason: the page shows one group. A picture of its beginning is made."""
    failed = [each for each in jobs if each["status"] == "failed"]
    assert failed
    assert {each["error"]["kind"] for each in failed} == {"invalid_input"}
    assert {each["error"]["message"] for each in failed} == {REASON}
    assert {each["kind"] for each in jobs if each not in failed} <= {"image"}


def test_the_demo_says_what_is_broken_why_and_where_to_look(jobs: Jobs) -> None:
    """In its last lines."""
    said = explain(jobs, "http://127.0.0.1:8300/page/batches/b1")
    assert said is not None
    assert f"One file is broken on purpose: {UNFINISHED}" in said
    assert f"failed for good: {REASON}." in said
    assert said.endswith("http://127.0.0.1:8300/page/batches/b1#failures")
    assert explain([{**each, "status": "succeeded"} for each in jobs], "p") is None


def test_the_demo_succeeds_if_this_file_alone_fails(jobs: Jobs) -> None:
    """Any other failure, the lack of this one, or a batch that did not run is reported."""
    sound = {"input": "s3://m/a.mp4", "kind": "video", "status": "succeeded", "error": None}
    failure = {"kind": "internal_error", "message": "out of memory"}
    assert exit_status(1, [*jobs, sound]) == 0
    assert exit_status(1, [*jobs, {**sound, "status": "failed", "error": failure}]) == 1
    assert exit_status(0, [{**each, "status": "succeeded", "error": None} for each in jobs]) == 1
    [whole, *others] = sorted(jobs, key=lambda each: each["status"])
    assert exit_status(1, [{**whole, "error": failure}, *others]) == 1
    assert exit_status(3, [*jobs, sound]) == 3
