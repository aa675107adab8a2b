"""The page about the guides names tests that exist, and every block of the guides has one."""

import re
from pathlib import Path

import pytest

from ittybatch.settings import CHECKOUT
from tests.guides.blocks import FOLDER

PAGE = (CHECKOUT / "docs" / "guides.md").read_text(encoding="utf-8")
HERE = Path(__file__).parent
TESTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in HERE.glob("test_*.py")
    if path != Path(__file__)
}


def test_every_guide_names_its_tests() -> None:
    """Below its table; and no test of the guides is left out."""
    lines = re.findall(r"^Tests: (.*)$", PAGE, re.MULTILINE)
    assert len(lines) == 5
    assert set(re.findall(r"`(test_\w+\.py)`", " ".join(lines))) == set(TESTS)


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_every_block_is_used(name: str) -> None:
    """A block that no test runs would only be a copy."""
    spoken = name if not name.startswith("002_job.") else "002_job."
    assert any(spoken in text for text in TESTS.values()), name
