"""Tables at the widths that terminals have: one line a row, long names cut in the middle."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from ittybatch.cli import batches, jobs, output
from ittybatch.cli.output import Column, cut_in_the_middle, print_table
from ittybatch.ledger import Ledger
from ittybatch.ledger.control import hold_batch
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import JobState
from tests.ledger import library

FOLDER = "productions/2026/season-03"
NAMES = [f"{FOLDER}/episode-{n:02}/masters/uncompressed_4k_prores_v{n}.mov" for n in range(4)]


@pytest.fixture
def batch(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A held batch of long names in two renditions; one job has failed."""
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("ITTYBATCH_HOME", str(tmp_path))
    ledger = Ledger(create_ledger_engine(sqlite_url))
    wanted = [library.job(name, rendition=of) for name in NAMES for of in ("720p", "poster")]
    chunk, _ = library.submitted(ledger, *wanted)
    bad = library.failed("task-1", "invalid_input", "could not decode the input")
    ledger.write(settle, [library.remote("task-0"), bad])
    found = library.place(ledger, chunk).batch_id
    ledger.write(hold_batch, found, "402: no credit")
    ledger.close()
    return found


def on_screen(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    """A terminal of this width in place of standard output."""
    text = io.StringIO()
    screen = Console(file=text, width=width, highlight=False, soft_wrap=True)
    for module in (output, batches, jobs):
        monkeypatch.setattr(module, "console", screen)
    return text


@pytest.mark.parametrize("width", [80, 100, 200])
def test_each_row_has_one_line(monkeypatch: pytest.MonkeyPatch, batch: str, width: int) -> None:
    """Within the screen, with ids whole, and the names' beginnings and ends."""
    text = on_screen(monkeypatch, width)
    assert batches.status() == 0
    assert jobs.failures(batch) == 0
    assert jobs.jobs(batch) == 0
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    assert [line for line in lines if len(line) > width and "ittybatch" not in line] == []
    assert any(line.split()[:1] == [batch] for line in lines), "the id is whole"
    title = f"Jobs of batch {batch}, inputs in s3://media/{FOLDER}/"
    listed = lines[lines.index(cut_in_the_middle(title, width)) :]
    rows = [line for line in listed if "episode-" in line]
    assert len(rows) == len(NAMES) * 2
    assert all(re.match(r" ?episode-\d\d/.*_v\d\.mov ", row) for row in rows)


def test_wide_prints_names_whole(monkeypatch: pytest.MonkeyPatch, batch: str) -> None:
    """On a narrow screen, too; with every column."""
    text = on_screen(monkeypatch, 80)
    jobs.jobs(batch, wide=True)
    assert f"s3://media/{NAMES[0]}" in text.getvalue()
    assert "Output or error" in text.getvalue()


def test_status_shows_what_somebody_asks_first(monkeypatch: pytest.MonkeyPatch, batch: str) -> None:
    """State with its reason, source, profile, and counts of each rendition; nothing as JSON."""
    text = on_screen(monkeypatch, 100)
    batches.status(batch)
    shown = text.getvalue()
    for line in ("State    held", "Reason   402: no credit", "Source   s3://media/"):
        assert line in shown
    assert "1 of 8 succeeded, 1 failed, 6 at Ittybit" in shown
    assert re.search(r"720p +4 +1 +3 +0 +0", shown)
    assert re.search(r"poster +4 +0 +3 +1 +0", shown)
    assert "{" not in shown


def test_jobs_are_filtered_by_rendition_state_and_input(
    monkeypatch: pytest.MonkeyPatch, batch: str
) -> None:
    """All three at once, as one looks for one job."""
    text = on_screen(monkeypatch, 200)
    jobs.jobs(batch, rendition="poster", input_contains="episode-02")
    assert text.getvalue().count("submitted") == 1
    jobs.failures(batch, rendition="720p")
    assert "No job of batch" in text.getvalue()


def test_a_state_has_its_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed is red, also where a name beside it is cut."""
    text = io.StringIO()
    screen = Console(file=text, width=40, force_terminal=True, color_system="standard")
    monkeypatch.setattr(output, "console", screen)
    state = JobState.FAILED
    print_table("", (Column("Name", cut=True), "State"), [("x" * 80, state)])
    assert "\x1b[31mfailed" in text.getvalue()
    assert "…" in text.getvalue()


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("abcdefghij", 10, "abcdefghij"),
        ("abcdefghij", 7, "abc…hij"),
        ("abcdefghij", 6, "abc…ij"),
        ("映画の名前.mov", 9, "映画….mov"),
    ],
)
def test_a_cut_keeps_beginning_and_end(text: str, width: int, cut: str) -> None:
    """By the width on the screen: some characters take two places."""
    assert cut_in_the_middle(text, width) == cut
