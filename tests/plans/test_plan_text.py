"""What a plan says of a library with every kind of litter, as the documentation shows it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ittybatch.cli.planning import plan
from ittybatch.cli.sourcing import NO_OPTIONS, SourceOptions
from ittybatch.ledger import open_ledger
from ittybatch.ledger.migrate import upgrade
from ittybatch.settings import Settings
from tests.docs.pages import fences
from tests.plans import litter

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="module")
def library(modules_s3: "S3Client") -> "S3Client":
    litter.fill(modules_s3)
    return modules_s3


@pytest.fixture
def folder(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: "S3Client"
) -> Path:
    """A folder with a profile and a manifest, and an empty ledger."""
    del library
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    ledger = open_ledger(Settings())
    upgrade(ledger)
    ledger.close()
    Path(tmp_path / "small.yaml").write_text(litter.PROFILE)
    litter.write_manifest(tmp_path / "list.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(what: str) -> str:
    """A plan as the documentation shows it."""
    [fence] = fences("text", what=what)
    return fence.text


def squeezed(text: str) -> list[str]:
    """The words of each line: how wide a table is depends on the terminal."""
    lines = (re.sub(r"[─ ]+", " ", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


@pytest.mark.parametrize(
    ("what", "source", "options"),
    [
        ("plan-of-a-bucket", "s3://library/in/", NO_OPTIONS),
        ("plan-of-a-manifest", "list.csv", NO_OPTIONS),
        ("plan-of-nothing", "s3://library/in/", SourceOptions(suffix=[".mxf"])),
    ],
)
def test_the_docs_show_what_a_plan_says(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    what: str,
    source: str,
    options: SourceOptions,
) -> None:
    """Each rule is counted and in words, and each refusal names the line, the field and why."""
    assert plan(source, profile=str(folder / "small.yaml"), source_options=options) == 0
    said = squeezed(capsys.readouterr().out)
    expected = squeezed(shown(what).partition("\n")[2])
    assert said[: len(expected)] == expected


def test_a_plan_in_which_nothing_is_left_says_so_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Above the table of zeros."""
    plan(
        "s3://library/in/",
        profile=str(folder / "small.yaml"),
        source_options=SourceOptions(suffix=[".mxf"]),
    )
    assert capsys.readouterr().out.startswith(
        "Nothing is planned: the filters leave out everything"
    )


def test_litter_can_be_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the option that the plan names."""
    plan(
        "s3://library/in/",
        profile=str(folder / "small.yaml"),
        source_options=SourceOptions(include=["hidden"]),
    )
    said = capsys.readouterr().out
    assert "left out by hidden" not in said
    assert "._interview.mov" in said
