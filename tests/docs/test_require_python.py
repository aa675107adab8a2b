"""Whoever has the wrong Python is told so in words."""

import ast
import runpy
import tomllib
from collections.abc import Callable

import pytest

from ittybatch.settings import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "require_python.py"


@pytest.fixture(scope="module")
def complaint() -> Callable[[tuple[int, ...], bool], str | None]:
    found: Callable[[tuple[int, ...], bool], str | None] = runpy.run_path(str(SCRIPT))["complaint"]
    return found


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 4), (3, 13, 0), (4, 0, 0)])
def test_a_python_that_will_do_is_let_pass(
    complaint: Callable[[tuple[int, ...], bool], str | None], version: tuple[int, ...]
) -> None:
    """Silently."""
    assert complaint(version, True) is None


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 0), (3, 10, 14)])
def test_an_old_python_is_named_with_what_is_needed(
    complaint: Callable[[tuple[int, ...], bool], str | None], version: tuple[int, ...]
) -> None:
    """And with how to give another."""
    told = complaint(version, True)
    assert told is not None
    assert f"{version[0]}.{version[1]}" in told
    assert "3.11" in told
    assert "PYTHON=python3.11" in told


def test_a_python_without_ensurepip_is_told_what_to_install(
    complaint: Callable[[tuple[int, ...], bool], str | None],
) -> None:
    """Debian keeps it apart, and its own error is hard to read."""
    assert "python3-venv" in str(complaint((3, 11, 2), False))


def test_an_old_python_can_read_it() -> None:
    """Its syntax is Python 3.4's, or the message would be a SyntaxError."""
    assert ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 4))


def test_it_asks_for_what_the_package_asks_for(
    complaint: Callable[[tuple[int, ...], bool], str | None],
) -> None:
    """One version, in both places."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["requires-python"] == ">=3.11"
    assert complaint((3, 11), True) is None
