"""`ittybatch plan`: what is left out, and why, in a sentence that cannot be missed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ittybatch.cli import planning
from ittybatch.cli.sourcing import SourceOptions
from ittybatch.errors import IttybatchError
from tests.sources.store import Answered, Store, entry, listing, serving

PROFILE = "renditions:\n  - {name: sd, kind: video, options: {format: mp4, height: 480}}\n"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sqlite_url: str) -> Iterator[Store]:
    """A store of two clips and some litter, a profile, and an empty ledger."""
    body = listing(
        entry("in/a.mov"),
        entry("in/b.mov"),
        entry("in/._a.mov"),
        entry("in/c&#10;.mov"),
        entry("in/d.mov", more="<StorageClass>GLACIER</StorageClass>"),
    )
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)
    Path("sd.yaml").write_text(PROFILE)
    with serving(lambda _: Answered(body)) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


def planned(capsys: pytest.CaptureFixture[str], **options: object) -> str:
    given = SourceOptions(**options)  # type: ignore[arg-type]
    assert planning.plan("s3://media/in/", profile="sd.yaml", source_options=given) == 0
    return capsys.readouterr().out


@pytest.mark.usefixtures("store")
def test_what_each_rule_leaves_out_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """With its count; nothing is silently missing."""
    told = planned(capsys)
    assert "left out by hidden: hidden files" in told
    assert "left out by archived: archived objects that are not restored" in told
    assert "Nothing is planned" not in told
    assert "left out by hidden" not in planned(capsys, include=["hidden"])


@pytest.mark.usefixtures("store")
def test_a_plan_that_its_filters_leave_empty_says_so_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before any table of zeros."""
    told = planned(capsys, glob="*.MOV").lstrip()
    assert told.startswith("Nothing is planned: the filters leave out everything")
    assert "`glob` (no match of the pattern, which is case-sensitive)" in told.replace("\n", " ")


@pytest.mark.usefixtures("store")
def test_an_object_that_was_refused_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Visibly, whatever its name holds."""
    assert r"s3://media/in/c\n.mov has a name with an invisible character" in planned(capsys)


@pytest.mark.parametrize(
    "options",
    [{"suffix": [""]}, {"glob": ""}, {"under": "s3://other/"}, {"suffix": ["*.m?v"]}],
)
def test_an_option_that_would_change_what_is_read_is_refused(
    store: Store, capsys: pytest.CaptureFixture[str], options: dict[str, object]
) -> None:
    """Before anything is read."""
    with pytest.raises(IttybatchError, match=f"--{next(iter(options))}"):
        planned(capsys, **options)
    assert store.asked == []
