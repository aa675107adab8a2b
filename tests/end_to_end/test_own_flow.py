"""A user's own flow: it starts a job and a batch, sleeps, and goes on with the results."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.system import System
from tests.end_to_end.waiting import until

pytestmark = pytest.mark.timeout(900)

MINE = """
import json
from pathlib import Path
from prefect import flow
from ittybatch.prefect import IttybitBatch, IttybitJob, await_suspended, wait_suspended

@flow
def publish(url: str, manifest: str, out: str):
    job = IttybitJob(input=url, profile="web").trigger()
    outputs = wait_suspended(job).output_urls
    batch = IttybitBatch(source=manifest, profile="web").trigger()
    counts = wait_suspended(batch).counts
    Path(out).write_text(json.dumps({"outputs": outputs, "succeeded": counts["succeeded"]}))

@flow
async def later(url: str, out: str):
    job = await IttybitJob(input=url, kind="image", options={"width": 96}).atrigger()
    Path(out).write_text(json.dumps((await await_suspended(job)).output_urls))
"""
DEPLOY = """
import sys
from prefect import flow

pool = {"work_pool_name": "ittybatch", "build": False, "push": False}
for name in ("publish", "later"):
    mine = flow.from_source(source=sys.argv[1], entrypoint=f"mine.py:{name}")
    mine.deploy(name="mine", print_next_steps=False, **pool)
"""
REGISTER = ("-m", "prefect", "block", "register", "-m", "ittybatch.prefect")


@pytest.mark.parametrize("manifest", [3], indirect=True)
def test_a_flow_sleeps_until_its_job_and_its_batch_have_ended(
    instant_system: System, manifest: dict[str, str], tmp_path: Path
) -> None:
    """Each started once, however often the flow begins again; its events are there for all."""
    system = instant_system
    # Late enough for the flow to be asleep.
    system.wire.strike({"webhooks": {"delayed": {"probability": 1.0, "seconds": 8}}})
    (tmp_path / "mine.py").write_text(MINE)
    _python(system, "-c", DEPLOY, str(tmp_path))
    registered = _python(system, *REGISTER)
    assert all(f"Ittybit {name}" in registered for name in ("Credentials", "Job", "Batch"))
    out = tmp_path / "out.json"
    before = system.wire.created
    run = system.prefect.run(
        "publish/mine",
        {"url": "s3://library/own/flow.png", "manifest": manifest["uri"], "out": str(out)},
    )
    later = tmp_path / "later.json"
    awaiting = system.prefect.run(
        "later/mine", {"url": "s3://library/own/later.png", "out": str(later)}
    )
    until(out.exists, "the flow has its results", within_s=240)
    result = json.loads(out.read_text())
    assert result["succeeded"] == 3
    assert result["outputs"]
    assert all(url.startswith("http") for url in result["outputs"].values())
    until(later.exists, "the asynchronous flow has its result")
    assert json.loads(later.read_text())["image"].startswith("http")
    assert "Suspended" in system.prefect.history(awaiting)
    assert system.wire.created - before == len(result["outputs"]) + 3 + 1, "each job once"
    until(
        lambda: system.prefect.flow_run(run)["state_type"] == "COMPLETED", "the flow run has ended"
    )
    names = system.prefect.history(run)
    assert names.count("Suspended") == 2, names
    batch = system.newest(manifest["uri"])
    resource = f"ittybatch.batch.{batch}"
    for event in ("batch.planned", "chunk.done", "batch.ended"):
        name = f"ittybatch.{event}"
        until(partial(system.prefect.events, name, resource), f"Prefect has the event {name}")


def _python(system: System, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=system.stack.process_environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
