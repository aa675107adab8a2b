"""DataFrames of a ledger: the same columns and types whatever it holds, on both databases."""

from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest

import ittybatch
from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.plan import PlannedReject
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.queries import AmbiguousBatch
from ittybatch.ledger.settlement import settle
from tests.engine.reports import mixed_batch, output, settled_batch
from tests.ledger import library

UTC_TIME = "datetime64[us, UTC]"
RESULT_TYPES = {
    "batch": "category",
    "input": "str",
    "fingerprint": "str",
    "rendition": "category",
    "kind": "category",
    "status": "category",
    "attempts": "Int64",
    "task_id": "str",
    "output_url": "str",
    "format": "category",
    "width": "Int64",
    "height": "Int64",
    "duration_s": "float64",
    "size_bytes": "Int64",
    "input_size_bytes": "Int64",
    "error_kind": "category",
    "error_message": "str",
    "submitted_at": UTC_TIME,
    "completed_at": UTC_TIME,
    "took_s": "float64",
    "options": "category",
}


def types(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(frame.columns, map(str, frame.dtypes), strict=True))


def test_each_job_is_a_typed_row(ledger: Ledger) -> None:
    """One that succeeded, one that failed, and one in flight, which has neither end nor output."""
    batch = mixed_batch(ledger)
    frame = ittybatch.results()
    assert types(frame) == {**RESULT_TYPES, "metadata.show": "str"}
    assert frame["status"].tolist() == ["succeeded", "failed", "submitted"]
    assert set(frame["batch"]) == {batch}
    good, bad, open_ = (frame.iloc[number] for number in range(3))
    assert (good["input"], good["width"], good["size_bytes"]) == ("s3://media/a.mov", 854, 1000)
    assert good["completed_at"].to_pydatetime() == datetime(2026, 11, 21, tzinfo=UTC)
    assert (bad["error_kind"], bad["metadata.show"]) == ("invalid_input", "pilot")
    assert open_[["width", "completed_at", "took_s", "format", "error_message"]].isna().all()
    assert ittybatch.results(batch, only_failures=True)["task_id"].tolist() == ["task-1"]


def test_a_batch_without_a_job_and_one_without_a_result_have_the_same_columns(
    ledger: Ledger,
) -> None:
    """So that a notebook runs whatever the night brought."""
    empty = library.new_batch(ledger).id
    assert types(ittybatch.results(empty)) == RESULT_TYPES
    assert len(ittybatch.results(empty)) == len(ittybatch.failures(empty)) == 0
    planned = library.planned_batch(ledger, library.job("a.mov", metadata={}))
    frame = ittybatch.results(planned)
    assert types(frame) == RESULT_TYPES
    assert (frame["status"].item(), frame["attempts"].item()) == ("planned", 0)
    assert frame["submitted_at"].isna().all()


def test_an_empty_ledger_has_no_batch_and_says_so(ledger: Ledger) -> None:
    """The list is empty and typed; a question about one is an error."""
    del ledger
    frame = ittybatch.batches()
    assert len(frame) == 0
    assert (str(frame["created_at"].dtype), str(frame["jobs"].dtype)) == (UTC_TIME, "Int64")
    for read in (ittybatch.results, ittybatch.failures, ittybatch.rejects):
        with pytest.raises(AmbiguousBatch, match="ittybatch status"):
            read("latest")


def test_a_text_that_fits_several_batches_is_refused(ledger: Ledger) -> None:
    """It names them."""
    first, second = (library.new_batch(ledger).id for _ in range(2))
    with pytest.raises(AmbiguousBatch) as refused:
        ittybatch.results(first[:4])
    assert first in str(refused.value)
    assert second in str(refused.value)
    assert set(ittybatch.batches(idle=True)["batch"]) == {first, second}


def test_batches_are_listed_with_their_counts(ledger: Ledger) -> None:
    """Also one that runs: it has no end yet."""
    batch = mixed_batch(ledger)
    frame = ittybatch.batches()
    assert types(frame)["ended_at"] == UTC_TIME
    [row] = frame.to_dict("records")
    assert (row["batch"], row["state"], row["source"]) == (batch, "running", "s3://media/")
    assert (row["jobs"], row["succeeded"], row["failed"], row["in_flight"]) == (3, 1, 1, 1)
    assert pd.isna(row["ended_at"])
    assert pd.isna(row["took_s"])


def test_failures_are_counted_by_reason_and_rejects_listed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what may become of another attempt."""
    frame = ittybatch.failures(mixed_batch(ledger))
    [row] = frame.to_dict("records")
    assert (row["jobs"], row["status"], row["error_kind"]) == (1, "failed", "invalid_input")
    assert (row["outlook"], row["to_retry"]) == ("would fail again", 1)
    assert row["first_at"] == row["last_at"]
    assert str(frame["first_at"].dtype) == UTC_TIME
    monkeypatch.setattr("ittybatch.engine.reports.failures.WINDOW", 0)
    with pytest.warns(UserWarning, match="0 of 1 failures"):
        ittybatch.failures()
    batch = library.new_batch(ledger).id
    page = library.page(
        rejects=[
            PlannedReject(2, "input", "is empty", ",,"),
            PlannedReject(None, None, "cannot be read", None),
        ]
    )
    ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    found = ittybatch.rejects(batch)
    assert found["line"].tolist() == [2, pd.NA]
    assert found["reason"].tolist() == ["is empty", "cannot be read"]


def test_metadata_of_any_job_is_a_column(ledger: Ledger) -> None:
    """Missing where a job does not have the name; other values than text are JSON."""
    jobs = [
        library.job("a.mov", metadata={"show": "pilot"}),
        library.job("b.mov", metadata={"season": 1, "tags": ["x"]}),
    ]
    batch = library.planned_batch(ledger, *jobs)
    frame = ittybatch.results(batch)
    assert frame["metadata.show"].tolist()[0] == "pilot"
    assert frame["metadata.show"].isna().tolist() == [False, True]
    assert frame["metadata.season"].tolist()[1] == "1"
    assert frame["metadata.tags"].tolist()[1] == '["x"]'
    assert "metadata.show" not in ittybatch.results(batch, metadata=False)
    many = {f"name{number}": "x" for number in range(201)}
    wide = library.planned_batch(ledger, library.job("c.mov", metadata=many))
    with pytest.raises(IttybatchError, match="metadata=False"):
        ittybatch.results(wide)


def test_pages_make_one_frame(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that a later page brings are categories like the others."""
    monkeypatch.setattr("ittybatch.ledger.results.PAGE", 2)
    jobs = [
        library.job(f"{number}.mov", rendition=f"r{number}", metadata={f"m{number % 3}": "x"})
        for number in range(5)
    ]
    batch = library.planned_batch(ledger, *jobs, chunk_size=3)
    frame = ittybatch.results(batch)
    assert frame["rendition"].tolist() == [f"r{number}" for number in range(5)]
    assert frame["metadata.m2"].notna().tolist() == [False, False, True, False, False]


def test_two_batches_are_compared_item_by_item(ledger: Ledger) -> None:
    """Of two profiles: what both made has both values, the rest says where it is."""
    a = settled_batch(ledger, {"a.mov": output("https://c.test/1", size_bytes=1000)})
    again = library.job("a.mov", job_key="f" * 32, options={"height": 720})
    chunk, _ = library.submitted(ledger, again, library.job("b.mov", rendition="hd"))
    bigger = replace(library.remote("task-0"), outputs=(output("https://c.test/2", "mp4", 1500),))
    ledger.write(settle, [bigger])
    b = library.place(ledger, chunk).batch_id
    frame = ittybatch.compare(a, b)
    both, only_b = frame.sort_values("input").to_dict("records")
    assert (both["rendition"], both["size_bytes_a"], both["size_bytes_b"]) == ("sd", 1000, 1500)
    assert both["size_change"] == 1.5
    assert pd.isna(both["only_in"])
    assert not both["same_options"]
    assert (only_b["rendition"], only_b["only_in"], only_b["status_b"]) == ("hd", "b", "submitted")
    assert pd.isna(only_b["size_change"])
    same = ittybatch.compare(a, a)
    assert same["same_options"].all()
    assert same["size_change"].tolist() == [1.0]


def test_an_item_that_is_listed_twice_is_compared_with_its_own_copy(ledger: Ledger) -> None:
    """Two jobs of one name are two rows, not four."""
    jobs = [library.job("a.mov", job_key=f"{number}" * 32) for number in range(2)]
    batch = library.planned_batch(ledger, *jobs)
    assert len(ittybatch.compare(batch, batch)) == 2
