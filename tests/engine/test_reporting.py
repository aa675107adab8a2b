"""Reports: the same jobs in every form, whole or not there, and written once for all."""

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow.parquet as pq
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from ittybatch.engine.options import BatchOptions
from ittybatch.engine.reporting import (
    Output,
    report_output,
    table_output,
    write_files,
    write_report,
)
from ittybatch.engine.reports.forms import ReportFormat
from ittybatch.engine.reports.places import NotWritten, whole
from ittybatch.engine.reports.rejects import write_rejects
from ittybatch.engine.reports.tally import Tally
from ittybatch.ledger import Ledger, results
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.plan import PlannedReject
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.results import Result, result_pages
from ittybatch.ledger.states import JobState
from ittybatch.sources import ManifestSource, read_pages
from tests.engine.reports import mixed_batch, written
from tests.ledger import library

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def test_a_spreadsheet_opens_the_csv_of_a_file_as_utf8(ledger: Ledger, tmp_path: Path) -> None:
    """By its byte order mark; a pipe has none."""
    batch = library.new_batch(ledger).id
    page = library.page(rejects=[PlannedReject(2, "input", "ü", "ü")])
    ledger.write(plan_page, batch, page, after=None, chunk_size=10)
    write_files(ledger, batch, tmp_path)
    for name in ("report.csv", "rejects.csv"):
        assert (tmp_path / name).read_bytes().startswith(b"\xef\xbb\xbf")
    assert written(ledger, batch, ReportFormat.CSV).startswith(b"input,")


def test_a_csv_report_reads_back_as_a_manifest_of_its_inputs(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Its `kind` and sizes are those of the outputs, and order nothing."""
    batch = mixed_batch(ledger)
    write_files(ledger, batch, tmp_path)
    (page,) = read_pages(ManifestSource(uri=str(tmp_path / "report.csv")))
    assert page.rejects == []
    assert {item.uri for item in page.items} == {
        row.input for rows in result_pages(ledger, batch) for row in rows
    }
    assert {(item.kind, item.options) for item in page.items} == {(None, None)}


def test_a_report_shows_a_source_without_its_signature(ledger: Ledger) -> None:
    """Whoever reads a report must not get to read the manifest."""
    source = {"type": "manifest", "uri": "https://h/list.csv?X-Amz-Signature=s3cr3t"}
    batch = library.new_batch(ledger, source=source).id
    report = json.loads(written(ledger, batch, ReportFormat.JSON))
    assert report["batch"]["source"]["uri"] == "https://h/list.csv?..."
    assert dict(ledger.read(read_batch, batch).source) == source


def test_copies_go_only_to_folders_that_batches_may_use(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report at home is written all the same, and says why there is no copy."""
    monkeypatch.setenv("ITTYBATCH_FILE_DIRS", str(tmp_path / "shared"))
    batch = mixed_batch(ledger)
    for to, failures in ((tmp_path / "shared" / "in", 0), (tmp_path / "elsewhere", 1)):
        done = write_files(ledger, batch, tmp_path / "home", copies_to=str(to))
        assert len(done.failures) == failures
        assert to.exists() is not bool(failures)
    assert "ITTYBATCH_FILE_DIRS" in done.failures[0]
    assert (tmp_path / "home" / "report.json").exists()


def test_the_json_report_has_its_documented_shape(ledger: Ledger) -> None:
    """Programs rely on these names."""
    batch = mixed_batch(ledger)
    report = json.loads(written(ledger, batch, ReportFormat.JSON))
    assert set(report) == {"batch", "counts", "jobs"}
    assert report["batch"]["id"] == batch
    assert report["counts"] == {
        "items": 3,
        "jobs": 3,
        "succeeded": 1,
        "failed": 1,
        "cancelled": 0,
        "expired": 0,
        "skipped": 0,
    }
    good, bad, _ = report["jobs"]
    assert good == {
        "input": "s3://media/a.mov",
        "rendition": "sd",
        "kind": "video",
        "status": "succeeded",
        "attempts": 1,
        "task_id": "task-0",
        "output_url": "https://cdn.test/out.mp4",
        "output": {
            "format": "mp4",
            "width": 854,
            "height": 480,
            "duration_s": 12.5,
            "size_bytes": 1000,
        },
        "error": None,
        "submitted_at": good["submitted_at"],
        "completed_at": "2026-11-21T00:00:00+00:00",
    }
    assert bad["error"] == {"kind": "invalid_input", "message": '=HYPERLINK("http://x")'}
    assert bad["output"] is None


@pytest.mark.parametrize("form", [ReportFormat.CSV, ReportFormat.JSON])
def test_only_failures_are_written_when_asked(ledger: Ledger, form: ReportFormat) -> None:
    """For whoever has to mend them; the counts stay those of the batch."""
    text = written(ledger, mixed_batch(ledger), form, only_failures=True)
    assert (b"task-1" in text, b"task-0" in text, b"task-2" in text) == (True, False, False)


def test_parquet_holds_the_same_rows(ledger: Ledger) -> None:
    """With types: numbers are numbers, times have their zone."""
    table = pq.read_table(io.BytesIO(written(ledger, mixed_batch(ledger), ReportFormat.PARQUET)))
    assert table.column("status").to_pylist() == ["succeeded", "failed", "submitted"]
    assert table.column("width").to_pylist()[0] == 854
    assert table.column("input_size_bytes").to_pylist() == [100, 100, 100]
    assert str(table.schema.field("completed_at").type) == "timestamp[us, tz=UTC]"


def test_a_batch_without_jobs_has_reports_too(ledger: Ledger) -> None:
    """Each form is complete with nothing in it."""
    batch = library.planned_batch(ledger)
    assert json.loads(written(ledger, batch, ReportFormat.JSON))["jobs"] == []
    assert written(ledger, batch, ReportFormat.CSV).count(b"\r\n") == 1
    assert pq.read_table(io.BytesIO(written(ledger, batch, ReportFormat.PARQUET))).num_rows == 0
    assert written(ledger, batch, ReportFormat.HTML).endswith(b"</html>\n")


def test_every_job_comes_once_and_in_order(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether chunks are smaller than a page or larger, and among other batches' jobs."""
    monkeypatch.setattr(results, "PAGE", 4)
    names = [f"{number:02}.mov" for number in range(23)]
    for chunk_size in (1, 3, 4, 10, 100):
        jobs = [library.job(f"{chunk_size}/{name}") for name in names]
        batch = library.planned_batch(ledger, *jobs, chunk_size=chunk_size)
        pages = list(result_pages(ledger, batch))
        assert [row.input for page in pages for row in page] == [job.input for job in jobs]
        assert max(map(len, pages)) <= 4
    assert list(result_pages(ledger, batch, states=[JobState.FAILED])) == []


def test_files_are_whole_or_not_there(ledger: Ledger, tmp_path: Path) -> None:
    """And rejects are a file only where there are any."""
    here = tmp_path / "out"
    done = write_files(ledger, mixed_batch(ledger), here)
    assert set(done.places) == {"csv", "html", "json"}
    names = ["report.csv", "report.html", "report.json"]
    assert sorted(path.name for path in here.iterdir()) == names
    second = library.new_batch(ledger).id
    page = library.page(rejects=[PlannedReject(9, "input", "=evil", "@row")])
    ledger.write(plan_page, second, page, after=None, chunk_size=10)
    assert "rejects" in write_files(ledger, second, tmp_path / "two").places
    stream = io.BytesIO()
    assert write_rejects(ledger, second, stream) == 1
    assert stream.getvalue().splitlines()[1] == b"9,input,'=evil,'@row"


class _Stumbles:
    """A report that fails at its first job."""

    def add(self, _rows: Sequence[Result]) -> None:
        raise OSError(28, "No space left on device")

    def end(self, _tally: Tally) -> None:
        raise AssertionError("it has failed already")


def test_a_report_that_is_cut_short_leaves_the_one_before(ledger: Ledger, tmp_path: Path) -> None:
    """Nor does anything of the new one stay, and the other reports are written all the same."""
    batch = mixed_batch(ledger)
    place = tmp_path / "report.csv"
    place.write_text("yesterday's")

    @contextmanager
    def opened() -> Iterator[_Stumbles]:
        with whole(str(place)):
            yield _Stumbles()

    good = report_output(ledger, batch, ReportFormat.JSON, str(tmp_path / "report.json"))
    with pytest.raises(NotWritten, match=r"report.csv: No space left"):
        write_report(ledger, batch, [good, Output("report.csv", opened())])
    assert [path.name for path in tmp_path.glob("[!l]*")] == ["report.csv"]
    assert place.read_text() == "yesterday's"
    again = report_output(ledger, batch, ReportFormat.JSON, str(tmp_path / "report.json"))
    done = write_report(ledger, batch, [Output("report.csv", opened(), may_fail=True), again])
    [told] = done.failures
    assert told.startswith(f"The report cannot be written to {place}: No space left on device.")
    assert place.read_text() == "yesterday's"
    assert json.loads((tmp_path / "report.json").read_text())["batch"]["id"] == batch
    assert not list(tmp_path.glob(".*.part"))


def test_copies_go_to_a_bucket(ledger: Ledger, tmp_path: Path, s3: "S3Client", bucket: str) -> None:
    """In a folder of the batch's own, in every form, the same to the byte."""
    batch = mixed_batch(ledger)
    done = write_files(ledger, batch, tmp_path / "here", copies_to=f"s3://{bucket}/reports/")
    assert done.failures == []
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert {each["Key"] for each in listed} == {
        f"reports/{batch}/report.{form}" for form in ("csv", "html", "json", "parquet")
    }
    copy = s3.get_object(Bucket=bucket, Key=f"reports/{batch}/report.json")
    assert copy["ContentType"] == "application/json"
    assert copy["Body"].read() == (tmp_path / "here" / "report.json").read_bytes()


def test_copies_may_tell_only_of_failures(ledger: Ledger, tmp_path: Path) -> None:
    """The report where the batch ran tells of all."""
    batch = mixed_batch(ledger)
    write_files(ledger, batch, tmp_path, copies_to=str(tmp_path / "c"), only_failures=True)
    assert len(json.loads((tmp_path / "report.json").read_text())["jobs"]) == 3
    copy = json.loads((tmp_path / "c" / batch / "report.json").read_text())
    assert [job["task_id"] for job in copy["jobs"]] == ["task-1"]


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    ("bucket", "why"),
    [("nobodys-bucket-at-all", "NoSuchBucket"), ("<bucket>", "'<bucket>' in .* no.* bucket name")],
)
def test_copies_that_cannot_be_written_do_not_cost_the_report(
    bucket: str, why: str, ledger: Ledger, tmp_path: Path
) -> None:
    """A bucket that is gone, or was never named, is told, with what to do."""
    batch, here = mixed_batch(ledger), tmp_path / "here"
    done = write_files(ledger, batch, here, copies_to=f"s3://{bucket}/x")
    assert len(done.failures) == 4
    assert re.search(why, done.failures[0])
    assert (tmp_path / "here" / "report.json").exists()


def test_an_object_of_many_parts_is_there_once_it_is_whole(
    s3: "S3Client",
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And one that is given up leaves no parts behind that would be paid for."""
    part = 5 * 1024 * 1024
    parts = TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    monkeypatch.setattr("ittybatch.engine.reports.places.TRANSFER", parts)
    line = b"x" * 99_999 + b"\n"
    with whole(f"s3://{bucket}/big.csv") as stream:
        for _ in range(120):
            stream.write(line)
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    found = s3.get_object(Bucket=bucket, Key="big.csv")
    assert found["Body"].read() == line * 120
    assert found["ETag"].strip('"').endswith("-3")
    with contextlib.suppress(RuntimeError), whole(f"s3://{bucket}/cut.csv") as stream:
        stream.write(line * 60)
        raise RuntimeError
    monkeypatch.setattr(
        "botocore.client.BaseClient._make_api_call",
        failing(cast("Any", BaseClient)._make_api_call, part=2),
    )
    with pytest.raises(NotWritten), whole(f"s3://{bucket}/cut.csv") as stream:
        stream.write(line * 60)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def failing(call: Callable[..., Any], part: int) -> Callable[..., Any]:
    """API calls of which one, the upload of this part, is refused."""

    def called(client: object, operation: str, arguments: dict[str, Any]) -> object:
        if operation == "UploadPart" and arguments["PartNumber"] == part:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
        return call(client, operation, arguments)

    return called


@pytest.mark.parametrize("place", ["s3://bucket", "s3://bucket/folder/", "s3://b/x"])
def test_a_place_that_is_none_is_told(place: str) -> None:
    """Before anything is sent."""
    with pytest.raises(NotWritten, match="s3://"), whole(place):
        pass


@pytest.mark.parametrize("place", ["reports", "./reports", "https://x.test/", "s3://"])
def test_copies_need_a_place_that_means_the_same_to_every_machine(place: str) -> None:
    """A relative path would be another one in each process."""
    with pytest.raises(ValueError, match="report_to"):
        BatchOptions(report_to=place)
    assert BatchOptions(report_to="s3://media-reports/nightly/").report_to
    assert BatchOptions(report_to="").report_to is None


def test_a_table_is_an_output_like_any_other(ledger: Ledger) -> None:
    """By command it must not fail in silence."""
    assert not table_output("jobs", mixed_batch(ledger)).may_fail
