"""`--follow`: what is said of a batch once it has ended."""

from pathlib import Path

import pytest

from ittybatch.cli.following import follow_run
from ittybatch.engine.flow_runs import FlowRuns
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import end_batch, finish_planning
from ittybatch.ledger.control import cancel_batch
from ittybatch.ledger.plan import PlannedReject
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.runs import end_runs
from tests.ledger import library

FLOW_RUN = "22222222-2222-2222-2222-222222222222"


class Deaf(FlowRuns):
    """Prefect, of a batch that has ended: there is nothing to ask."""

    def __init__(self) -> None:
        pass

    def url(self, flow_run: str) -> str:
        return f"http://prefect/{flow_run}"


def ended_batch(ledger: Ledger, rejects: int = 0, **counts: int) -> str:
    """A batch of a flow run that planned no job, and has ended."""
    batch = library.new_batch(ledger, flow_run_id=FLOW_RUN).id
    bad = [PlannedReject(line, "input", "is empty", ",") for line in range(rejects)]
    page = library.page(rejects=bad, counts=counts)
    ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    ledger.write(finish_planning, batch)
    ledger.write(end_batch, batch)
    ledger.write(end_runs, batch)
    return batch


def follow(ledger: Ledger, home: Path) -> int:
    return follow_run(ledger, Deaf(), FLOW_RUN, home=home, json=False)


def test_rows_that_could_not_be_read_are_told(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or a manifest with nothing but bad rows would look like one that was done."""
    batch = ended_batch(ledger, rejects=3)
    assert follow(ledger, tmp_path) == 0
    told = capsys.readouterr().out
    assert "0 of 0 jobs succeeded" in told
    assert "3 rows and items could not be used; why: rejects.csv beside the batch's report" in told

    rejects = tmp_path / "batches" / batch / "rejects.csv"
    rejects.parent.mkdir(parents=True)
    rejects.touch()
    follow(ledger, tmp_path)
    assert f"3 rows and items could not be used; why: {rejects}" in capsys.readouterr().out


def test_a_batch_that_asks_is_not_waited_for_in_silence(
    ledger: Ledger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever follows it is told why it waits, once, and with what it begins."""
    batch = library.new_batch(ledger, flow_run_id=FLOW_RUN).id
    ledger.write(finish_planning, batch, "12 jobs are to be submitted, more than 10.")
    looks = 0

    def cancel_at_last(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            ledger.write(cancel_batch, batch, "Cancelled by Ann.")
            ledger.write(end_runs, batch)

    monkeypatch.setattr("ittybatch.cli.following.time.sleep", cancel_at_last)
    assert follow(ledger, tmp_path) == 1
    told = capsys.readouterr().err
    assert told.count("12 jobs are to be submitted, more than 10.") == 1
    assert f"ittybatch approve {batch}" in told
    assert f"ittybatch cancel {batch}" in told


@pytest.mark.parametrize(
    ("count", "said"),
    [
        ("already_done", "7 jobs were not submitted: done before"),
        ("already_there", "7 jobs were not submitted: with an output at their destination already"),
        ("in_flight_elsewhere", "7 jobs were not submitted: in flight in another batch"),
        ("held_back", "7 jobs were not submitted: held back"),
        ("same_destination", "7 jobs were not submitted: refused"),
    ],
)
def test_jobs_that_were_not_submitted_are_told(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: str, said: str
) -> None:
    """With the reason, and each only where there are any."""
    ended_batch(ledger, **{count: 7})
    assert follow(ledger, tmp_path) == 0
    told = capsys.readouterr().out
    assert said in told
    assert sum(line.startswith("7 ") for line in told.splitlines()) == 1
    assert "could not be used" not in told


def test_one_job_that_was_not_submitted_is_told_in_the_singular(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As everywhere else."""
    ended_batch(ledger, already_done=1)
    assert follow(ledger, tmp_path) == 0
    assert "1 job was not submitted: done before." in capsys.readouterr().out


def test_ctrl_c_ends_only_the_display(
    ledger: Ledger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And says that the batch goes on, and how to attach again."""
    batch = library.new_batch(ledger, flow_run_id=FLOW_RUN).id

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ittybatch.cli.following.time.sleep", interrupt)
    assert follow(ledger, tmp_path) == 130
    said = capsys.readouterr().err
    assert "The batch continues without this command" in said
    assert f"ittybatch follow {batch}" in said
