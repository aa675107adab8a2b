"""The first batches, run once for all tests of this folder."""

from pathlib import Path

import pytest

from ittybatch_local import make_media
from tests.end_to_end.media.first_batches import FirstBatches, run_first_batches
from tests.end_to_end.system import System


@pytest.fixture(scope="package")
def library(folder: Path) -> Path:
    """Videos with sound, recordings and pictures."""
    media = folder / "media"
    make_media(media)
    return media


@pytest.fixture(scope="package")
def first_batches(running: System, library: Path, folder: Path) -> FirstBatches:
    """Three batches that run at the same time, over real media."""
    return run_first_batches(running, library, folder)
