"""A plan that is saved: interrupted anywhere, it keeps no job from the next one."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from ittybatch.engine.options import BatchOptions
from ittybatch.engine.planning import plan_batch
from ittybatch.engine.saving import save_plan
from ittybatch.ledger import Ledger, runs
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.control import approve, resume_batch
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.identity import batch_owner
from ittybatch.ledger.models import Run
from ittybatch.ledger.queries import BatchStatus, recent_batches
from ittybatch.ledger.states import BatchState, RunState
from ittybatch.settings import CHECKOUT, Settings
from ittybatch.sources import ManifestSource

ITEMS = 20
# Plans a page, says so, and waits in the middle of the next to be killed.
_CHILD = """
import signal, sys, time
# Whoever runs the tests in the background may ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from ittybatch.engine import planning
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.saving import save_plan
from ittybatch.ledger import open_ledger
from ittybatch.settings import Settings
from ittybatch.sources import ManifestSource

planning.PAGE_SIZE = 5

def stop(counts):
    print("planned", flush=True)
    time.sleep(60)

settings = Settings()
save_plan(open_ledger(settings), settings, ManifestSource(uri=sys.argv[1]), "web",
          BatchOptions(), on_page=stop)
"""


@pytest.fixture
def settings(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("ITTYBATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("ittybatch.engine.planning.PAGE_SIZE", 5)
    return Settings()


@pytest.fixture
def manifest(tmp_path: Path) -> ManifestSource:
    path = tmp_path / "manifest.csv"
    path.write_text("input\n" + "".join(f"s3://media/{n}.wav\n" for n in range(ITEMS)))
    return ManifestSource(uri=str(path))


def _only(ledger: Ledger) -> BatchStatus:
    [batch] = ledger.read(recent_batches)
    return batch


def _save(ledger: Ledger, settings: Settings, manifest: ManifestSource) -> Mapping[str, int]:
    return save_plan(ledger, settings, manifest, "web", BatchOptions()).counts


def _interrupted(settings: Settings, manifest: ManifestSource, how: signal.Signals) -> Ledger:
    """A ledger in which a process saved a plan, and was stopped after the first page."""
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, manifest.uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=CHECKOUT,
    )
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == b"planned\n"
        child.send_signal(how)
        child.wait(timeout=30)
    return Ledger(create_ledger_engine(settings.ledger_url))


def test_a_saved_plan_waits_for_approval_and_has_no_run(
    settings: Settings, manifest: ManifestSource
) -> None:
    """Its process has ended; an approval has a flow run made."""
    ledger = Ledger(create_ledger_engine(settings.ledger_url))
    assert _save(ledger, settings, manifest)["jobs"] == ITEMS
    batch = _only(ledger)
    assert batch.state is BatchState.UNAPPROVED
    run = ledger.read(runs.read_run, batch_owner(batch.id))
    assert run is not None
    assert run.state is RunState.ENDED
    ledger.write(approve, batch.id)
    assert [each.owner for each in ledger.read(runs.unmade_runs, batch.id)] == [run.owner]
    ledger.close()


def test_ctrl_c_holds_the_batch_at_once(settings: Settings, manifest: ManifestSource) -> None:
    """And the next plan takes over what it had planned."""
    ledger = _interrupted(settings, manifest, signal.SIGINT)
    held = _only(ledger)
    assert held.state is BatchState.HELD
    assert "KeyboardInterrupt" in str(held.reason)
    counts = _save(ledger, settings, manifest)
    assert (counts["jobs"], counts.get("in_flight_elsewhere", 0)) == (ITEMS, 0)
    ledger.close()


def test_a_resumed_plan_waits_for_approval_whoever_finishes_it(
    settings: Settings, manifest: ManifestSource
) -> None:
    """The run that a resume creates reads the rest, and nobody has approved anything."""
    ledger = _interrupted(settings, manifest, signal.SIGINT)
    held = _only(ledger)
    assert ledger.write(resume_batch, held.id)
    planning = ledger.read(read_batch, held.id)
    # With no reason of its own to ask, as the flow run has.
    plan_batch(ledger, planning, manifest, settings.profiles_dir, chunk_size=10)
    finished = _only(ledger)
    assert (finished.state, finished.plan["jobs"]) == (BatchState.UNAPPROVED, ITEMS)
    assert finished.reason == "Its plan was saved for later."
    ledger.close()


def test_a_process_that_was_killed_is_found_by_the_next_plan(
    settings: Settings, manifest: ManifestSource
) -> None:
    """Not before a lease has passed in silence: it might be alive."""
    ledger = _interrupted(settings, manifest, signal.SIGKILL)
    killed = _only(ledger)
    assert killed.state is BatchState.PLANNING
    assert _save(ledger, settings, manifest)["in_flight_elsewhere"] == killed.plan["jobs"] > 0

    def let_pass(seconds: float) -> None:
        then = ledger.read(lambda tx: tx.now) - timedelta(seconds=seconds)
        ledger.write(lambda tx: tx.execute(update(Run).values(heartbeat_at=then)))

    let_pass(settings.lease_s + 1)
    counts = _save(ledger, settings, manifest)
    assert (counts["jobs"], counts.get("in_flight_elsewhere", 0)) == (ITEMS, 0)
    states = {each.id: each.state for each in ledger.read(recent_batches)}
    assert states[killed.id] is BatchState.HELD
    ledger.close()


@pytest.mark.usefixtures("settings")
def test_a_plan_that_takes_longer_than_a_lease_is_not_taken_for_dead(
    manifest: ManifestSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heart beats while it reads the source."""
    monkeypatch.setenv("ITTYBATCH_LEASE_S", "0.4")
    brief = Settings()
    ledger = Ledger(create_ledger_engine(brief.ledger_url))
    beats: set[object] = set()

    def look(_: Mapping[str, int]) -> None:
        until = time.monotonic() + 20
        known = len(beats)
        while len(beats) == known and time.monotonic() < until:
            batch = _only(ledger)
            run = ledger.read(runs.read_run, batch_owner(batch.id))
            assert run is not None
            beats.add(run.heartbeat_at)
            time.sleep(0.01)

    save_plan(ledger, brief, manifest, "web", BatchOptions(), on_page=look)
    assert len(beats) >= ITEMS // 5
    assert _only(ledger).state is BatchState.UNAPPROVED
    ledger.close()
