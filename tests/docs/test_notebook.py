"""The notebook as a reader finds it: run as it stands, with nothing of the machine that ran it."""

import importlib.util
import json
import re
from types import ModuleType
from typing import Any

import pytest

from ittybatch.settings import CHECKOUT

NOTEBOOK = CHECKOUT / "docs" / "analysis.ipynb"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The program that runs notebooks; scripts are no package."""
    place = CHECKOUT / "scripts" / "notebook.py"
    spec = importlib.util.spec_from_file_location("notebook", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_outputs_are_those_of_its_code(script: ModuleType) -> None:
    """A changed cell has to be run again: `python scripts/notebook.py docs/analysis.ipynb`."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["metadata"]["code_digest"] == script.digest_of(notebook)
    cells = list(script.code_cells(notebook))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell["outputs"] for cell in cells)


def test_its_outputs_tell_nothing_of_the_machine() -> None:
    """Neither paths nor addresses nor signatures."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    for pattern in (r"/(home|root|tmp|work|Users)/", r"127\.0\.0\.1|localhost", r"X-Amz-|secret"):
        assert not re.search(pattern, text), pattern


def test_a_cell_that_fails_stops_the_run(script: ModuleType) -> None:
    """What a cell prints and its last value are its outputs; later cells see its names."""

    def cell(source: str) -> dict[str, Any]:
        return {"cell_type": "code", "source": [source], "outputs": []}

    notebook = {
        "cells": [cell("number = 1\nprint('one')"), cell("number + 1"), cell("number = 3")],
        "metadata": {},
    }
    script.run(notebook)
    first, second, third = (each["outputs"] for each in notebook["cells"])
    assert first[0]["text"] == ["one\n"]
    assert second[0]["data"]["text/plain"] == ["2"]
    assert third == []
    with pytest.raises(ZeroDivisionError):
        script.run({"cells": [cell("1 / 0")], "metadata": {}})
