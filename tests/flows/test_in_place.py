"""The flows called directly in Python: no deployment, no receiver, the same promises."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect import State
from prefect.client.orchestration import get_client
from prefect.exceptions import CancelledRun, FailedRun
from prefect.testing.utilities import prefect_test_harness

import ittybatch
from ittybatch import api
from ittybatch.cli.steering import resume
from ittybatch.engine.flow_runs import BATCH_DEPLOYMENT
from ittybatch.engine.options import BatchOptions
from ittybatch.engine.saving import save_plan
from ittybatch.errors import IttybatchError
from ittybatch.flows.run_batch import run_batch
from ittybatch.ledger import Ledger
from ittybatch.ledger.control import pause_batch, resume_batch
from ittybatch.ledger.database import LedgerUnavailable, create_ledger_engine
from ittybatch.ledger.queries import recent_batches
from ittybatch.ledger.results import all_job_rows
from ittybatch.ledger.states import BatchState
from ittybatch.settings import Settings
from ittybatch.sources import FailedJobsSource, ManifestSource
from tests.ledger.whole import accepted_attempts
from tests.sandbox.harness import KEY, Running, running

ITEMS = 12


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running(instant=True) as up:
        yield up


@pytest.fixture
def ledger(
    sandbox: Running, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ledger]:
    """The ledger that the flows find through their settings."""
    for name, value in {
        "ITTYBIT_API_URL": sandbox.url,
        "ITTYBIT_API_KEY": KEY,
        "DATABASE_URL": sqlite_url,
        "ITTYBATCH_HOME": str(tmp_path / "home"),
        "ITTYBATCH_POLL_AFTER_S": "0.2",
    }.items():
        monkeypatch.setenv(name, value)
    opened = Ledger(create_ledger_engine(sqlite_url))
    yield opened
    opened.close()


@pytest.fixture
def source(tmp_path: Path) -> ManifestSource:
    return _of(tmp_path, ITEMS)


@pytest.fixture(scope="module")
def _adhoc(_prefect: None) -> None:
    """The deployment that a resumed batch goes on in; nobody begins its runs but a test."""
    flow, name = BATCH_DEPLOYMENT.split("/")
    with get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow_from_name(flow), name)


def _run(source: ManifestSource, **options: object) -> State[Any]:
    state = run_batch(
        source,
        "web",
        options=BatchOptions.model_validate({"chunk_size": 5, **options}),
        return_state=True,
    )
    assert isinstance(state, State)
    return state


def _of(folder: Path, count: int) -> ManifestSource:
    path = folder / "manifest.csv"
    path.write_text("input\n" + "".join(f"s3://media/{n}.wav\n" for n in range(count)))
    return ManifestSource(uri=str(path))


def _strike(sandbox: Running, faults: dict[str, Any]) -> None:
    sandbox.client.post("/_sandbox/faults", json=faults).raise_for_status()


def _seen(sandbox: Running) -> dict[str, str]:
    return {job["idempotency_key"]: job["id"] for job in sandbox.all_jobs()}


def test_a_batch_ends_by_waiting_in_place(
    ledger: Ledger, sandbox: Running, source: ManifestSource, tmp_path: Path
) -> None:
    """Chunk after chunk, by asking; its report and the sandbox agree."""
    state = _run(source)
    assert state.is_completed()
    assert f"{ITEMS} of {ITEMS} jobs succeeded" in str(state.message)
    [batch] = ledger.read(recent_batches)
    assert (batch.state, batch.chunks_done) == (BatchState.SUCCEEDED, 3)
    assert _seen(sandbox) == ledger.read(accepted_attempts, batch.id)
    assert (tmp_path / "home" / "batches" / batch.id / "report.json").exists()

    again = _run(source)
    assert again.is_completed()
    assert "nothing new to do" in str(again.message)
    assert len(_seen(sandbox)) == ITEMS


def test_a_direct_call_returns_the_batchs_summary(
    ledger: Ledger, sandbox: Running, source: ManifestSource
) -> None:
    """Or raises it where jobs have failed."""
    summary = api.run_batch(source, profile="web")
    [batch] = ledger.read(recent_batches)
    assert (summary.id, summary.state) == (batch.id, BatchState.SUCCEEDED)
    assert (summary.counts["jobs"], summary.counts["succeeded"]) == (ITEMS, ITEMS)

    refusal = {"kind": "invalid_input", "message": "not media"}
    _strike(sandbox, {"jobs": [{"action": "fail_always", "error": refusal}]})
    options = BatchOptions(again=True, approve_above_jobs=ITEMS)
    with pytest.raises(api.BatchFailed, match="ittybatch") as failed:
        api.run_batch(source, profile="web", options=options)
    assert failed.value.summary is not None
    assert failed.value.summary.counts["jobs"] == ITEMS

    preview = api.run_batch(source, profile="web", options=BatchOptions(dry_run=True))
    assert (preview.id, preview.counts["jobs"]) == (None, 0)


def test_a_frame_is_run_and_its_results_are_one(ledger: Ledger, sandbox: Running) -> None:
    """From a DataFrame to a DataFrame, by the way of every batch; metadata comes back."""
    rows = pd.DataFrame(
        {
            "input": [f"s3://media/{number}.wav" for number in range(ITEMS)],
            "metadata.speaker": [f"speaker {number % 3}" for number in range(ITEMS)],
        }
    )
    summary = ittybatch.run(rows, profile="web")
    assert summary.state is BatchState.SUCCEEDED
    assert summary.id is not None
    jobs = ittybatch.results(summary.id)
    assert jobs["status"].tolist() == ["succeeded"] * ITEMS
    assert jobs["took_s"].notna().all()
    found = jobs.merge(rows, on="input", suffixes=("", "_given"))
    assert (found["metadata.speaker"] == found["metadata.speaker_given"]).all()
    assert _seen(sandbox) == ledger.read(accepted_attempts, summary.id)


def test_a_dry_run_submits_and_writes_nothing(
    ledger: Ledger, sandbox: Running, source: ManifestSource
) -> None:
    """It only tells."""
    state = _run(source, dry_run=True)
    assert state.name == "Completed"
    assert f"Dry run: {ITEMS} jobs of {ITEMS} items would be submitted" in str(state.message)
    assert ledger.read(recent_batches) == []
    assert _seen(sandbox) == {}


def test_a_wrong_key_stops_the_batch_which_goes_on_once_mended(
    ledger: Ledger, sandbox: Running, source: ManifestSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state says why and what to type; nothing was lost or sent."""
    with monkeypatch.context() as patch:
        patch.setenv("ITTYBIT_API_KEY", "paused-key")
        state = _run(source)
    assert state.name == "Failed"
    [batch] = ledger.read(recent_batches)
    assert f"ittybatch resume {batch.id}" in str(state.message)
    assert "paused-key" not in str(state.message)
    assert _seen(sandbox) == {}

    assert ledger.write(resume_batch, batch.id)
    assert _run(source, go_on_with=batch.id).is_completed()
    assert _seen(sandbox) == ledger.read(accepted_attempts, batch.id)


def test_a_crash_between_collecting_and_reporting_is_made_good(
    ledger: Ledger, sandbox: Running, source: ManifestSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next leg finds everything done, and reports."""
    with monkeypatch.context() as patch:
        patch.setattr("ittybatch.tasks.report.write_files", _die)
        assert _run(source).is_failed()
    [batch] = ledger.read(recent_batches)
    assert _run(source, go_on_with=batch.id).is_completed()
    assert len(_seen(sandbox)) == ITEMS


def test_a_crash_while_scanning_goes_on_from_the_last_page(
    ledger: Ledger, sandbox: Running, source: ManifestSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any page: what was planned stays, and is planned once."""
    monkeypatch.setattr("ittybatch.engine.planning.PAGE_SIZE", 4)
    options: dict[str, object] = {}
    for page in (0, 1, 1):
        with monkeypatch.context() as patch:
            patch.setattr("ittybatch.engine.planning._planned", _dies_at(page))
            assert _run(source, **options).is_failed()
        [batch] = ledger.read(recent_batches)
        options = {"go_on_with": batch.id}
    assert batch.state is BatchState.PLANNING
    assert batch.plan["jobs"] == 8
    assert _run(source, **options).is_completed()
    assert _seen(sandbox) == ledger.read(accepted_attempts, batch.id)
    assert len(_seen(sandbox)) == ITEMS


def test_a_later_leg_needs_no_file_that_the_batch_was_begun_with(
    ledger: Ledger, source: ManifestSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its profile was the path of a file, which is gone by now: the ledger has a frozen copy."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("renditions: [{name: sound, kind: audio, options: {format: mp3}}]\n")
    with monkeypatch.context() as patch:
        patch.setattr("ittybatch.tasks.report.write_files", _die)
        assert run_batch(source, str(mine), return_state=True).is_failed()
    mine.unlink()
    [batch] = ledger.read(recent_batches)
    assert _run(source, go_on_with=batch.id).is_completed()


def test_retrying_the_latest_batch_is_about_the_one_before(
    ledger: Ledger, sandbox: Running, source: ManifestSource
) -> None:
    """Once it has begun, the newest batch is the retry itself; that has nothing to retry."""
    refusal = {"kind": "invalid_input", "message": "not media"}
    rule = {"action": "fail_always", "match": {"input": "*/7.wav"}, "error": refusal}
    _strike(sandbox, {"jobs": [rule]})
    assert _run(source).name == "Failed"
    _strike(sandbox, {})
    state = run_batch(FailedJobsSource(batch="latest"), return_state=True)
    assert state.is_completed()
    newest = ledger.read(recent_batches)[0]
    assert newest.counts["succeeded"] == newest.counts["jobs"] == 1


def test_a_source_that_cannot_be_read_holds_the_batch(ledger: Ledger, tmp_path: Path) -> None:
    """It never looks like an empty one."""
    with pytest.raises(FailedRun, match=r"gone\.csv.*ittybatch resume"):
        run_batch(ManifestSource(uri=str(tmp_path / "gone.csv")), "web")
    [batch] = ledger.read(recent_batches)
    assert batch.state is BatchState.HELD
    assert "gone.csv" in str(batch.reason)


def test_an_error_of_ours_at_any_step_is_told_in_words(
    ledger: Ledger, source: ManifestSource, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The folder of reports is a file: the state says so, and no log holds a traceback."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "batches").write_text("in the way")
    state = _run(source)
    assert state.name == "Failed"
    assert "cannot be made: Not a directory. Check ITTYBATCH_HOME" in str(state.message)
    assert not [record for record in caplog.records if record.exc_info]
    (tmp_path / "home" / "batches").unlink()
    [batch] = ledger.read(recent_batches)
    assert _run(source, go_on_with=batch.id).is_completed()


def test_an_error_of_ours_in_a_chunk_is_told_in_words(
    ledger: Ledger,
    source: ManifestSource,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The chunk's run and the batch's both say it, and neither logs a traceback."""

    def refuse(*_: object) -> None:
        raise IttybatchError("The database was away.", remedy="Bring it back.")

    with monkeypatch.context() as patch:
        patch.setattr("ittybatch.flows.process_chunk.submit", refuse)
        state = _run(source)
    assert (state.name, state.message) == ("Failed", "The database was away. Bring it back.")
    assert not [record for record in caplog.records if record.exc_info]
    [batch] = ledger.read(recent_batches)
    assert _run(source, go_on_with=batch.id).is_completed()


def test_a_paused_batch_is_neither_failed_nor_complete(
    ledger: Ledger, sandbox: Running, source: ManifestSource
) -> None:
    """Its run says who paused it, and how it goes on; a tag says that it is paused."""
    saved = save_plan(ledger, Settings(), source, "web", BatchOptions())
    ledger.write(pause_batch, saved.id, "Ann")
    state = _run(source, go_on_with=saved.id)
    assert state.name == "Cancelled"
    assert f"Paused by Ann. `ittybatch resume {saved.id}`" in str(state.message)
    assert _tags(state) == {f"batch:{saved.id}", "outcome:paused"}
    assert _seen(sandbox) == {}


def test_a_direct_call_says_that_its_plan_waits_to_be_approved(
    ledger: Ledger, sandbox: Running, source: ManifestSource
) -> None:
    """Nothing was done: a program must not take that for the end of the batch."""
    with pytest.raises(CancelledRun, match=r"Nothing was submitted\..*ittybatch approve"):
        run_batch(source, "web", approve_above_jobs=0)
    assert _seen(sandbox) == {}
    [batch] = ledger.read(recent_batches)
    assert batch.state is BatchState.UNAPPROVED


def test_copies_of_the_report_cannot_go_to_a_file(
    ledger: Ledger, sandbox: Running, source: ManifestSource
) -> None:
    """That is said before anything is planned."""
    state = _run(source, report_to="/reports/nightly.csv")
    assert state.name == "Failed"
    assert "which names a file; nothing was submitted" in str(state.message)
    assert ledger.read(recent_batches) == []
    assert _seen(sandbox) == {}


@pytest.mark.usefixtures("_adhoc")
def test_a_canary_that_fails_holds_the_rest_until_somebody_has_looked(
    ledger: Ledger,
    sandbox: Running,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ten jobs are paid for and not sixty; `ittybatch resume` lets the others go."""
    error = {"kind": "invalid_input", "message": "the file is not media"}
    _strike(sandbox, {"jobs": [{"action": "fail_always", "error": error}]})
    assert _run(_of(tmp_path, 60), canary_items=10, chunk_size=50).is_failed()
    [held] = ledger.read(recent_batches)
    assert held.state is BatchState.HELD
    assert "10 of the canary's 10 jobs failed" in str(held.reason)
    assert len(sandbox.all_jobs()) == 10

    _strike(sandbox, {})
    capsys.readouterr()
    assert resume(held.id, json=True) == 0
    # In this process, and not in a worker's.
    [made] = json.loads(capsys.readouterr().out)["flow_runs"]
    with get_client(sync_client=True) as client:
        parameters = client.read_flow_run(made).parameters
    run_batch(**parameters, return_state=True)
    [batch] = ledger.read(recent_batches)
    assert (batch.id, batch.state) == (held.id, BatchState.SOME_FAILED)
    counted = Counter(job.state.value for job in all_job_rows(ledger, batch.id))
    assert counted == {"failed": 10, "succeeded": 50}
    jobs = sandbox.all_jobs()
    assert _seen(sandbox) == ledger.read(accepted_attempts, batch.id)
    assert len(jobs) == len(_seen(sandbox))
    assert {job["created_by_key"] for job in jobs} == {1}


def _tags(state: State[Any]) -> set[str]:
    run = state.state_details.flow_run_id
    assert run
    with get_client(sync_client=True) as client:
        return set(client.read_flow_run(run).tags)


def _die(*_: object) -> None:
    raise MemoryError("killed")


def _dies_at(page: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from ittybatch.engine import planning  # noqa: PLC0415

    made = planning._planned
    seen = 0

    def planned(*given):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN202
        nonlocal seen
        seen += 1
        if seen > page:
            _die()
        return made(*given)

    return planned


@pytest.mark.usefixtures("ledger")
def test_a_database_that_is_not_there_fails_only_a_run_that_begins_a_batch(
    source: ManifestSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failed means that somebody is needed. A batch that exists is continued by another run."""

    def unavailable(*_: object) -> None:
        raise LedgerUnavailable("The ledger cannot be reached.")

    monkeypatch.setattr("ittybatch.flows.run_batch.adopt", unavailable)
    monkeypatch.setattr("ittybatch.tasks.step.this_run", lambda: ("a run", "its deployment"))
    for options, ends in (
        (BatchOptions(), "FAILED"),
        (BatchOptions(go_on_with="20260131-020000-abcdef"), "CRASHED"),
    ):
        state: State[Any] = run_batch(source, options=options, return_state=True)
        assert state.type.value == ends
        assert "cannot be reached" in str(state.message)
