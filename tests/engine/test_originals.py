"""No batch replaces its own items, whatever the order of the two rows and the size of a page."""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from ittybatch.engine.planning import plan_batch, preview
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.destinations import refusal
from ittybatch.ledger.lookups import Occupant
from ittybatch.ledger.models import Job
from ittybatch.ledger.results import reject_rows
from ittybatch.ledger.settlement import settle
from ittybatch.profiles import Item, Profile
from ittybatch.settings import CHECKOUT
from ittybatch.sources import ManifestSource, SqlSource
from tests.ledger import library

PROFILES = CHECKOUT / "deployments" / "profiles"
A, B = "s3://media/in/a.mov", "s3://media/in/a.mp4"


def _profile(suffixes: list[str] | None = None) -> Profile:
    rendition = {
        "name": "web",
        "kind": "video",
        "destination": "s3://media/{dir}/{stem}.{ext}",
        "when": {"suffix": suffixes} if suffixes else {},
    }
    small = {"name": "s", "kind": "audio"}
    return Profile.from_mapping({"name": "p", "renditions": [rendition, small]})


def _plan(
    ledger: Ledger, source: ManifestSource, profile: Profile
) -> tuple[dict[str, int], list[tuple[str, str | None]], list[tuple[int | None, str]]]:
    """Counts, the planned jobs as (input, destination), and the rejects, of a preview and a run."""
    found = preview(ledger, source, profile, PROFILES)
    opened = library.new_batch(
        ledger, source=source.model_dump(mode="json"), profile=profile.model_dump(mode="json")
    )
    batch = plan_batch(ledger, opened, source, PROFILES, chunk_size=2).id
    counts = dict(ledger.read(read_batch, batch).counts)
    assert counts == dict(found.counts)
    assert ledger.write(recount, batch) == []
    planned = [
        (row.input, row.destination)
        for row in library.rows(ledger, batch)
        if row.state == "planned"
    ]
    rejects = [(row["line"], row["reason"]) for row in ledger.read(reject_rows, batch)]
    assert rejects == [(each.line, each.reason) for each in found.rejects]
    return counts, planned, rejects


@pytest.mark.parametrize("page_size", [1, 5000])
@pytest.mark.parametrize("rows", [[A, B], [B, A], [A, "s3://media/in/x.mov", "s3://oth/y.mp4", B]])
@pytest.mark.parametrize("suffixes", [["mov"], None])
def test_an_output_never_replaces_another_row(  # noqa: PLR0917
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    page_size: int,
    rows: list[str],
    suffixes: list[str] | None,
) -> None:
    """Both are named, also where the other row has no such job, or is refused itself."""
    monkeypatch.setattr("ittybatch.engine.planning.PAGE_SIZE", page_size)
    manifest = tmp_path / "items.csv"
    manifest.write_text("input\n" + "\n".join(rows) + "\n")
    _, planned, rejects = _plan(ledger, ManifestSource(uri=str(manifest)), _profile(suffixes))
    assert B not in [destination for _, destination in planned]
    told = [reason for _, reason in rejects if A in reason and B in reason]
    assert len(told) == 1
    assert "in the same batch" in told[0] or "of the same batch" in told[0]


def test_outputs_beside_their_items_are_made(ledger: Ledger, tmp_path: Path) -> None:
    """A later batch may read what an earlier one wrote: that is no original of it."""
    manifest = tmp_path / "items.csv"
    manifest.write_text(f"input\n{A}\ns3://media/in/b.mov\n")
    source = ManifestSource(uri=str(manifest))
    counts, planned, rejects = _plan(ledger, source, _profile())
    assert (counts["jobs"], len(planned), rejects) == (4, 4, [])
    later = tmp_path / "later.csv"
    later.write_text(f"input,kind\n{B},image\n")
    counts, planned, rejects = _plan(ledger, ManifestSource(uri=str(later)), _profile())
    assert (planned, rejects) == ([(B, None)], [])
    assert ledger.read(lambda tx: tx.rows(select(Job.id).where(Job.destination == B)))


def test_a_later_leg_knows_the_items_of_the_one_before(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the rows before its own once more."""
    monkeypatch.setattr("ittybatch.engine.planning.PAGE_SIZE", 1)
    manifest = tmp_path / "items.csv"
    manifest.write_text(f"input\n{B.replace('a.', 'b.')}\n{B}\ns3://media/in/b.mov\n{A}\n")
    source = ManifestSource(uri=str(manifest))
    small = Profile.from_mapping(
        {
            "name": "p",
            "renditions": [
                {"name": "w", "kind": "video", "destination": "s3://media/{dir}/{stem}.{ext}",
                 "when": {"suffix": ["mov"]}},
                {"name": "s", "kind": "audio"},
            ],
        }
    )  # fmt: skip
    opened = library.new_batch(
        ledger, source=source.model_dump(mode="json"), profile=small.model_dump(mode="json")
    )
    read = 0

    def stop(_: object) -> None:
        nonlocal read
        read += 1
        if read == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan_batch(ledger, opened, source, PROFILES, chunk_size=9, on_page=stop)
    batch = plan_batch(
        ledger, ledger.read(read_batch, opened.id), source, PROFILES, chunk_size=9
    ).id
    assert [row.rendition for row in library.rows(ledger, batch)] == ["s"] * 4
    reasons = [row["reason"] for row in ledger.read(reject_rows, batch)]
    assert len(reasons) == 2
    assert "s3://media/in/a.mp4 (line 3), which is an item of the same batch" in reasons[1]


@pytest.mark.parametrize("stops_after", [None, 1, 3])
def test_a_row_without_a_job_is_not_replaced_either(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops_after: int | None
) -> None:
    """It is not in the ledger, and the pages between the two may be many, or of two legs."""
    monkeypatch.setattr("ittybatch.engine.planning.PAGE_SIZE", 1)
    manifest = tmp_path / "items.csv"
    between = [f"s3://media/in/x{number}.mp4" for number in range(4)]
    manifest.write_text("\n".join(["input", B, *between, A, ""]))
    source = ManifestSource(uri=str(manifest))
    rendition = {"name": "w", "kind": "video", "destination": "s3://media/{dir}/{stem}.{ext}",
                 "when": {"suffix": ["mov"]}}  # fmt: skip
    profile = Profile.from_mapping({"name": "p", "renditions": [rendition]})
    opened = library.new_batch(
        ledger, source=source.model_dump(mode="json"), profile=profile.model_dump(mode="json")
    )

    def stop(counts: Mapping[str, int]) -> None:
        if counts["found"] == stops_after:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        plan_batch(ledger, opened, source, PROFILES, chunk_size=9, on_page=stop)
    left = ledger.read(read_batch, opened.id)
    plan_batch(ledger, left, source, PROFILES, chunk_size=9)
    assert library.rows(ledger, opened.id) == []
    [reject] = ledger.read(reject_rows, opened.id)
    assert f"{B} (line 2), which is an item of the same batch" in reject["reason"]


@pytest.mark.parametrize("page_size", [1, 5000])
@pytest.mark.parametrize("order", [1, -1])
def test_a_changed_object_replaces_its_output_also_where_both_are_listed(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page_size: int, order: int
) -> None:
    """A table of assets may also have the outputs of the night before."""
    monkeypatch.setattr("ittybatch.engine.planning.PAGE_SIZE", page_size)
    manifest = tmp_path / "items.csv"
    manifest.write_text(f"input,etag\n{A},1\n")
    source = ManifestSource(uri=str(manifest))
    _plan(ledger, source, _profile(["mov"]))
    rows = [f"{A},2", f"{B},"][::order]
    manifest.write_text("\n".join(["input,etag", *rows, ""]))
    _, planned, rejects = _plan(ledger, source, _profile(["mov"]))
    assert (A, B) in planned
    assert rejects == []


def test_a_job_that_spared_an_original_returns_the_claim_it_took(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next ordinary batch would pay for the quarantined job."""
    monkeypatch.setattr("ittybatch.engine.planning.PAGE_SIZE", 1)
    rendition = {"name": "w", "kind": "video", "destination": "s3://media/{dir}/{stem}.{ext}",
                 "when": {"suffix": ["mov"]}}  # fmt: skip
    profile = Profile.from_mapping({"name": "p", "renditions": [rendition]})
    library.submitted(ledger, *profile.jobs_for(Item(A)))
    ledger.write(settle, [library.failed("task-0", "invalid_input", "not media")])
    manifest = tmp_path / "items.csv"
    source = ManifestSource(uri=str(manifest))

    def counts(*rows: str, again: bool) -> Counter[str]:
        manifest.write_text("\n".join(["input", *rows, ""]))
        opened = library.new_batch(
            ledger, source=source.model_dump(mode="json"),
            profile=profile.model_dump(mode="json"), options={"again": again},
        )  # fmt: skip
        plan_batch(ledger, opened, source, PROFILES, chunk_size=2, again=again)
        return Counter(ledger.read(read_batch, opened.id).counts)

    assert counts(A, B, again=True)["same_destination"] == 1
    ordinary = counts(A, again=False)
    assert (ordinary["held_back"], ordinary["jobs"]) == (1, 0)


def test_only_an_item_of_this_batch_is_called_one() -> None:
    """The remedy for an output of another batch is another one."""
    [job] = [each for each in _profile(["mov"]).jobs_for(Item(A)) if each.destination]
    reasons = [
        refusal(Item(A), [(job, Occupant(B, batch, B, None, 7))], "b1") for batch in ("b1", "b2")
    ]
    assert ["is an item of the same batch" in reason for reason in reasons] == [True, False]
    assert f"{B} (line 7) in batch b2" in reasons[1]


def test_a_row_that_has_left_a_querys_result_is_still_an_original(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later leg finds it in the ledger, where its other job is."""
    monkeypatch.setattr("ittybatch.engine.planning.PAGE_SIZE", 1)
    monkeypatch.setenv("ASSETS_URL", f"sqlite:///{tmp_path / 'assets.db'}")
    assets = sqlite3.connect(tmp_path / "assets.db", isolation_level=None)
    assets.execute("CREATE TABLE assets (id INTEGER PRIMARY KEY, uri TEXT)")
    assets.executemany("INSERT INTO assets (uri) VALUES (?)", [(B,), ("s3://media/x.mp4",), (A,)])
    source = SqlSource(database="ASSETS_URL", query="SELECT id, uri AS input FROM assets", key="id")
    opened = library.new_batch(
        ledger,
        source=source.model_dump(mode="json"),
        profile=_profile(["mov"]).model_dump(mode="json"),
    )

    def stop(_: object) -> None:
        assets.execute("DELETE FROM assets WHERE id = 1")
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        plan_batch(ledger, opened, source, PROFILES, chunk_size=9, on_page=stop)
    assets.close()
    plan_batch(ledger, ledger.read(read_batch, opened.id), source, PROFILES, chunk_size=9)
    assert [row.rendition for row in library.rows(ledger, opened.id)] == ["s"] * 3
    [reject] = ledger.read(reject_rows, opened.id)
    assert f"replace {B}" in reject["reason"]
