"""`ittybatch run`: what it asks Prefect for, and what it says of that."""

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ittybatch.cli import starting
from ittybatch.engine.estimate import Estimate
from ittybatch.engine.flow_runs import FlowRuns
from ittybatch.engine.options import RunOptions
from ittybatch.engine.planning import Preview
from ittybatch.errors import IttybatchError

PROFILE = "renditions: [{name: sd, kind: video, options: {height: 480}}]"


class Recorder(FlowRuns):
    """Prefect, keeping the parameters of the runs that it is asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def defaults(self, deployment: str) -> dict[str, Any]:
        return {"options": {"chunk_size": 7}} if deployment else {}

    def make(self, deployment: str, **given: Any) -> str:  # noqa: ANN401
        assert deployment == "run-batch/adhoc"
        self.asked.append(given["parameters"])
        return "run-1"

    def url(self, flow_run: str) -> str:
        return f"http://prefect/{flow_run}"


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
    """A folder of its own to type commands in, and whoever makes flow runs."""
    recorder = Recorder()

    @contextmanager
    def opened() -> Iterator[Recorder]:
        yield recorder

    monkeypatch.setattr(starting, "open_flow_runs", opened)
    monkeypatch.setattr(starting, "_AWAIT_BATCH_S", 0)
    monkeypatch.setenv("ITTYBATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return recorder


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("ps.yaml", "here/ps.yaml"),
        ("./ps.yaml", "here/ps.yaml"),
        ("sub/ps.txt", "here/sub/ps.txt"),
        ("~/ps.yml", "ps.yml"),
        ("link.yaml", "here/link.yaml"),
    ],
)
def test_a_profile_of_this_folder_is_found_in_another(
    prefect: Recorder, tmp_path: Path, given: str, sent: str
) -> None:
    """The worker runs in a folder of its own; a link's own name is the profile's."""
    path = tmp_path / sent
    path.parent.mkdir(exist_ok=True)
    if given.startswith("link"):
        (tmp_path / "other.yaml").write_text(PROFILE)
        path.symlink_to(tmp_path / "other.yaml")
    else:
        path.write_text(PROFILE)
    assert starting.run("list.csv", profile=given) == 0
    [parameters] = prefect.asked
    assert parameters["profile"] == str(path)
    assert parameters["source"]["uri"] == str(tmp_path / "here" / "list.csv")


def test_a_profile_that_is_named_is_the_workers_own(
    prefect: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, in the folder that the settings of each name."""
    monkeypatch.setenv("ITTYBATCH_PROFILES_DIR", str(tmp_path / "profiles"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "ps.yaml").write_text(PROFILE)
    starting.run("list.csv", profile="ps")
    assert prefect.asked[0]["profile"] == "ps"


def test_a_profile_of_the_current_folder_wins_at_the_worker_too(
    prefect: Recorder, tmp_path: Path
) -> None:
    """What was checked and priced here is what runs, not the package's profile of that name."""
    profiles = tmp_path / "here" / "deployments" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "web.yaml").write_text(PROFILE)
    starting.run("list.csv", profile="web")
    assert prefect.asked[0]["profile"] == str(profiles / "web.yaml")


def test_a_dry_run_says_where_its_plan_is(
    prefect: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """It makes no batch, so that nothing can follow it."""
    Path("ps.yaml").write_text(PROFILE)
    starting.run("list.csv", profile="ps.yaml", options=RunOptions(dry_run=True))
    told = capsys.readouterr().out
    assert "among the flow run's artifacts" in told
    assert "ittybatch follow" not in told
    assert prefect.asked[0]["options"] == {"chunk_size": 7, "dry_run": True}

    starting.run("list.csv", profile="ps.yaml")
    assert "ittybatch follow run-1" in capsys.readouterr().out


def test_a_dry_run_cannot_be_followed(prefect: Recorder) -> None:
    """There is no batch to show; nothing is started."""
    with pytest.raises(IttybatchError, match="--dry-run") as caught:
        starting.run("list.csv", options=RunOptions(dry_run=True), follow=True)
    assert "`ittybatch plan`" in str(caught.value)
    assert prefect.asked == []


def planned(monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    """A source in which this many jobs would be submitted, all of them made before."""
    found = Preview(counts=Counter(jobs=jobs, again=jobs))
    expected = Estimate(jobs, 1.5, None, (), "")
    monkeypatch.setattr(starting, "open_ledger", lambda _: None)
    monkeypatch.setattr(starting, "preview_batch", lambda *_: (found, expected))


def test_again_counts_and_prices_first(
    prefect: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal to ask, nothing starts; what was confirmed is the run's limit."""
    Path("ps.yaml").write_text(PROFILE)
    planned(monkeypatch, jobs=12)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(IttybatchError, match="--yes"):
        starting.run("list.csv", profile="ps.yaml", options=RunOptions(again=True))
    said = capsys.readouterr().err
    assert "12 jobs to submit; 12 of them were made before" in said
    assert "1.50 in your unit" in said
    assert prefect.asked == []

    starting.run("list.csv", profile="ps.yaml", options=RunOptions(again=True), yes=True, json=True)
    options = prefect.asked[0]["options"]
    assert options == {"chunk_size": 7, "again": True, "approve_above_jobs": 12}


@pytest.mark.parametrize("of", ["command", "options", "parameter"])
def test_a_limit_holds_although_again_is_confirmed_unseen(
    prefect: Recorder, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """With --yes nobody saw that there are more jobs than the limit allows."""
    Path("ps.yaml").write_text(PROFILE)
    planned(monkeypatch, jobs=12)
    options = RunOptions(again=True)
    if of == "command":
        options = RunOptions(again=True, approve_above_jobs=10)
    else:
        limit = {"approve_above_jobs": 10}
        usual = {"options": limit} if of == "options" else limit
        monkeypatch.setattr(prefect, "defaults", lambda _: usual)
    starting.run("list.csv", profile="ps.yaml", options=options, yes=True, json=True)
    assert prefect.asked[0]["options"]["approve_above_jobs"] == 10


def test_the_commands_own_limit_overrides_that_of_the_deployment(
    prefect: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which the form has as a parameter of its own: it would win in the flow."""
    monkeypatch.setattr(prefect, "defaults", lambda _: {"approve_above_jobs": 5000})
    options = RunOptions(approve_above_jobs=0)
    starting.run("list.csv", profile="web", options=options, json=True)
    assert prefect.asked[0]["options"]["approve_above_jobs"] == 0
    assert prefect.asked[0]["approve_above_jobs"] is None


def test_again_starts_nothing_where_there_is_nothing(
    prefect: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty source is no reason to ask."""
    Path("ps.yaml").write_text(PROFILE)
    planned(monkeypatch, jobs=0)
    assert starting.run("list.csv", profile="ps.yaml", options=RunOptions(again=True)) == 0
    assert prefect.asked == []
