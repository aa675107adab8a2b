"""A DataFrame as the source of a batch: written as a manifest, and read as any other."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

import ittybatch
from ittybatch.analysis.manifest import write_manifest
from ittybatch.engine.flow_runs import PrefectUnavailable
from ittybatch.engine.options import BatchOptions
from ittybatch.errors import ConfigurationError, IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.profiles import Item
from ittybatch.sources import ManifestSource, SourceError, read_pages
from tests.engine.reports import mixed_batch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REMOTE = "https://prefect.example.com/api"


@pytest.fixture
def ledger_url(sqlite_url: str) -> str:
    """One database is enough where the ledger has no part in it."""
    return sqlite_url


def frame(**columns: Any) -> pd.DataFrame:  # noqa: ANN401 - columns
    return pd.DataFrame({"input": ["s3://media/a.mov", "s3://media/b.mov"], **columns})


def items_of(source: ManifestSource) -> list[Item]:
    pages = list(read_pages(source))
    assert [page.rejects for page in pages] == [[]] * len(pages)
    return [item for page in pages for item in page.items]


def test_a_frame_reads_back_as_its_rows(tmp_path: Path) -> None:
    """Whatever types pandas has made of them; other columns are left out of the file."""
    rows = frame(
        size_bytes=[48230912.0, None],
        fingerprint=pd.Categorical(["v1", "v2"]),
        **{"metadata.show": ["Pilot", float("nan")], "metadata.season": [1, 2]},
        kind=["image", None],
        options=[{"width": 640}, None],
        notes=[object(), "private"],
    )
    source = write_manifest(rows, None, tmp_path / "home")
    assert Path(source.uri).is_relative_to(tmp_path / "home" / "manifests")
    assert b"private" not in Path(source.uri).read_bytes()
    first, second = items_of(source)
    assert (first.size_bytes, first.fingerprint, second.size_bytes) == (48230912, "v1", None)
    assert (first.kind, first.options, second.kind) == ("image", {"width": 640}, None)
    assert first.metadata == {"show": "Pilot", "season": "1"}
    assert second.metadata == {"season": "2"}


def test_results_are_a_frame_of_their_inputs(ledger: Ledger, tmp_path: Path) -> None:
    """To run what failed again: the same items, with their fingerprints and metadata."""
    mixed_batch(ledger)
    jobs = ittybatch.results()
    source = write_manifest(jobs[jobs["status"] == "failed"], None, tmp_path)
    [item] = items_of(source)
    assert (item.uri, item.fingerprint, item.size_bytes) == ("s3://media/=cmd()|x.mov", "1", 100)
    assert (item.kind, item.options, item.metadata) == (None, None, {"show": "pilot"})


def test_a_frame_goes_to_a_bucket(bucket: str, s3: "S3Client", tmp_path: Path) -> None:
    """Where a worker on another machine can read it."""
    source = write_manifest(frame(), f"s3://{bucket}/frames/", tmp_path)
    [found] = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert source.uri == f"s3://{bucket}/{found['Key']}"
    assert len(items_of(source)) == 2
    assert list(tmp_path.rglob("*.parquet")) == []


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (pd.DataFrame({"file": ["s3://media/a.mov"]}), "no column `input`"),
        (frame(optoins=["{}", "{}"]), "did you mean `options`"),
        (frame(**{"metadata.take": [1, "two"]}), "column `metadata.take` holds values of several"),
    ],
)
def test_a_frame_that_is_no_manifest_is_refused(
    rows: pd.DataFrame, what: str, tmp_path: Path
) -> None:
    """Before anything is written or submitted."""
    with pytest.raises(SourceError, match=what) as refused:
        ittybatch.run(rows)
    assert "nothing was submitted" in str(refused.value)
    assert list(tmp_path.rglob("*.parquet")) == []


def test_what_is_no_source_is_refused() -> None:
    """A text goes through the same door as one of the command line."""
    with pytest.raises(SourceError, match="list is not a source"):
        ittybatch.run([1])  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="is not a source"):
        ittybatch.run("ftp://media/")


def test_a_deployment_is_not_run_without_prefects_address(tmp_path: Path) -> None:
    """Prefect would start a server of its own; nothing is written for a worker of that."""
    with pytest.raises(PrefectUnavailable, match="PREFECT_API_URL is not set"):
        ittybatch.run(frame(), deployment="adhoc")
    assert list(tmp_path.rglob("*.parquet")) == []


def test_a_worker_elsewhere_could_not_read_the_home() -> None:
    """So the frame is not written there, and the error says where it may go."""
    with (
        temporary_settings(updates={PREFECT_API_URL: REMOTE}),
        pytest.raises(SourceError, match="manifest_to") as refused,
    ):
        ittybatch.run(frame(), deployment="adhoc")
    assert "prefect.example.com" in str(refused.value)


def test_a_folder_that_batches_may_not_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch would be held for it."""
    monkeypatch.setenv("ITTYBATCH_FILE_DIRS", str(tmp_path / "shared"))
    with pytest.raises(ConfigurationError, match="ITTYBATCH_FILE_DIRS"):
        ittybatch.run(frame())
    assert write_manifest(frame(), str(tmp_path / "shared"), tmp_path).format == "parquet"
    (tmp_path / "file").write_text("in the way")
    monkeypatch.delenv("ITTYBATCH_FILE_DIRS")
    with pytest.raises(SourceError, match="nothing was submitted"):
        ittybatch.run(frame(), manifest_to=str(tmp_path / "file" / "below"))


def test_a_dry_run_of_a_deployment_is_refused() -> None:
    """It makes no batch to wait for; a dry run in this process has a summary."""
    options = BatchOptions(dry_run=True)
    with pytest.raises(IttybatchError, match="Nothing was started") as refused:
        ittybatch.run("s3://media/in/", deployment="adhoc", options=options)
    assert "ittybatch plan" in str(refused.value)
