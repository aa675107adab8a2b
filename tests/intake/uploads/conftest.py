"""The API of uploads, over a bucket."""

from collections.abc import Iterator

import pytest

from ittybatch.intake.declared import UploadsDeclared
from tests.intake.uploads.serving import PAGE, Api, serving


@pytest.fixture
def declared(bucket: str) -> UploadsDeclared:
    """Uploads to the bucket."""
    return UploadsDeclared(bucket=bucket, profile="web", allowed_origins=(PAGE,))


@pytest.fixture
def api(declared: UploadsDeclared) -> Iterator[Api]:
    """The API over the bucket."""
    with serving(declared) as running:
        yield running
