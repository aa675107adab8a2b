"""What stands at its destination already is left out of a plan, if that is asked for."""

from typing import TYPE_CHECKING

import pytest

from ittybatch.engine.existing import ExistingOutputs
from ittybatch.sources import SourceError, s3
from tests.ledger import library

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def test_jobs_whose_output_is_there_are_left_out_and_counted(s3: "S3Client", bucket: str) -> None:
    """An empty object is what a failed upload leaves: it does not count."""
    s3.put_object(Bucket=bucket, Key="out/a.mp4", Body=b"made before")
    s3.put_object(Bucket=bucket, Key="out/b.mp4", Body=b"")
    jobs = [
        library.job(f"{name}.mov", destination=f"s3://{bucket}/out/{name}.mp4") for name in "abc"
    ]
    with ExistingOutputs() as standing:
        left = standing.without(library.page(*jobs, library.job("d.mov")))
    assert [item.jobs[0].input for item in left.items] == [
        f"s3://media/{name}.mov" for name in "bcd"
    ]
    assert left.counts["already_there"] == 1
    assert left.cursor == "end"


def test_each_look_has_a_connection_that_is_kept(
    bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise each would be made anew, and a warning tell of it."""
    jobs = [
        library.job(f"{number}.mov", destination=f"s3://{bucket}/out/{number}.mp4")
        for number in range(200)
    ]
    with ExistingOutputs() as standing:
        assert len(standing.without(library.page(*jobs)).items) == 200
    assert "Connection pool is full" not in caplog.text


def test_a_destination_that_cannot_be_looked_at_stops_the_plan(bucket: str) -> None:
    """To go on would be to pay for it unasked."""
    wanted = library.job("a.mov", destination=f"s3://{bucket}/out/a.mp4")
    with pytest.MonkeyPatch.context() as patch, ExistingOutputs() as standing:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        patch.setattr(s3, "FIRST_WAIT_S", 0.05)
        with pytest.raises(SourceError, match=r"out/a\.mp4"):
            standing.without(library.page(wanted))
