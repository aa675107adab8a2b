"""The failure matrix names tests that exist, and so do the other lists of tests."""

import ast
import functools
import re

import pytest

from ittybatch.settings import CHECKOUT

NAMED = re.findall(
    r"`(tests/[\w/]+\.py)::(\w+)`", (CHECKOUT / "docs" / "failure-matrix.md").read_text()
)


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_each_row_has_its_test(path: str, name: str) -> None:
    """Under the name that the row gives."""
    assert name in _functions(path)


@functools.cache
def _functions(path: str) -> set[str]:
    tree = ast.parse((CHECKOUT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", ["docs/architecture.md", "tests/order.py"])
def test_files_and_folders_that_are_named_are_there(page: str) -> None:
    """A prefix of names counts, as the order of tests has one."""
    named = set(re.findall(r"\btests/[\w/]*[\w/](?:\.py)?", (CHECKOUT / page).read_text()))
    assert named
    assert [each for each in sorted(named) if not [*CHECKOUT.glob(f"{each}*")]] == []


def test_no_row_is_without_one() -> None:
    """A claim that nothing makes happen is a hope."""
    text = (CHECKOUT / "docs" / "failure-matrix.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| (?!-)", line)]
    claims = [row for row in rows if not row.endswith("| Test |")]
    assert len(claims) == len(NAMED)
