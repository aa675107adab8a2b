"""Endpoints of S3: AWS itself, in every partition, and other stores."""

from typing import Any

import pytest

from ittybatch.sources import s3
from tests.sources.store import Store


def test_other_stores_get_no_checksums_that_they_would_refuse(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 adds them to every upload unless it is told not to; AWS itself wants them."""
    del store
    assert "x-amz-checksum-crc32" not in str(uploaded_with(s3.s3_client()))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    for region in ("eu-west-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1", "us-iso-east-1"):
        assert "x-amz-checksum-crc32" in str(uploaded_with(s3.s3_client(region=region))), region


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://s3.eusc-de-east-1.amazonaws.eu", True),
        ("https://sqs.eu-west-1.api.aws", True),
        ("https://s3.example.com", False),
        ("https://amazonaws.eu.example.com", False),
        ("https://notamazonaws.eu", False),
    ],
)
def test_every_partition_of_aws_is_aws(
    monkeypatch: pytest.MonkeyPatch, url: str, *, expected: bool
) -> None:
    """The European Sovereign Cloud has another domain; a name that only resembles one does not."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    assert s3.is_at_aws(s3.s3_client()) is expected


class _EnoughError(Exception):
    pass


def uploaded_with(client: Any) -> dict[str, str]:  # noqa: ANN401 - any client of S3
    """The headers of an upload, which is not sent."""
    headers: dict[str, str] = {}

    def look(request: Any, **_: Any) -> None:  # noqa: ANN401 - botocore's
        headers.update({name.lower(): str(value) for name, value in request.headers.items()})
        raise _EnoughError

    client.meta.events.register("before-send.s3", look)
    with pytest.raises(_EnoughError):
        client.put_object(Bucket="media", Key="a.mov", Body=b"media")
    return headers
