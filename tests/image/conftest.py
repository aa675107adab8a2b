"""The image, built once for all tests of it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.building import Builder, Image, why_not

# Where the base and the wheels are kept for the next time.
FOLDER = "ITTYBATCH_IMAGE_TESTS"


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """The image of deployments/Dockerfile, mounted."""
    if missing := why_not():
        pytest.fail(f"The image cannot be built here: {missing}.")
    folder = Path(os.environ.get(FOLDER, Path(tempfile.gettempdir()) / "ittybatch-image"))
    builder = Builder(folder)
    try:
        yield builder.build()
    finally:
        builder.close()


@pytest.fixture
def volume(image: Image, tmp_path: Path) -> Path:
    """A folder that the image's user owns, for its home."""
    found = tmp_path / "home"
    found.mkdir()
    os.chown(found, int(image.config["User"]), -1)
    # Its user has to be able to enter.
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    return found
