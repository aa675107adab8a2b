"""The failure matrix names tests that exist."""

import ast
import re

import pytest

from ittybatch.settings import CHECKOUT

NAMED = re.findall(
    r"`(tests/[\w/]+\.py)::(\w+)`", (CHECKOUT / "docs" / "failure-matrix.md").read_text()
)


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_each_row_has_its_test(path: str, name: str) -> None:
    """Under the name that the row gives."""
    tree = ast.parse((CHECKOUT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_no_row_is_without_one() -> None:
    """A claim that nothing makes happen is a hope."""
    text = (CHECKOUT / "docs" / "failure-matrix.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| (?!-)", line)]
    claims = [row for row in rows if not row.endswith("| Test |")]
    assert len(claims) == len(NAMED)
