"""The help texts of docs/commands.md are the program's own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ittybatch.settings import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "readme_help.py"


@pytest.fixture(scope="module")
def readme_help() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_help", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_terminal_has_a_say(readme_help: ModuleType) -> None:
    """Narrow, coloured or dumb: the check in a fresh process comes to the same texts."""
    outside = {"COLUMNS": "40", "FORCE_COLOR": "1", "TERM": "dumb", "LANG": "C"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"],
        env={**os.environ, **outside},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in readme_help.page()


def test_every_command_has_its_help(readme_help: ModuleType) -> None:
    """With the whole of its docstring, not only its line in the list."""
    text = readme_help.page()
    for words in readme_help.commands():
        assert f"## ittybatch {' '.join(words)}\n" in text
    assert "Ittybit may have made and billed it" in text


def test_a_difference_is_named_with_the_command_that_mends_it(
    readme_help: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The check fails; writing mends it; the check then passes."""
    page = tmp_path / "commands.md"
    page.write_text("old\n")
    monkeypatch.setattr(readme_help, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["readme_help.py", "--check"])
    assert readme_help.main() == 1
    assert "scripts/readme_help.py" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["readme_help.py"])
    assert readme_help.main() == 0
    monkeypatch.setattr(sys, "argv", ["readme_help.py", "--check"])
    assert readme_help.main() == 0


def test_the_readme_is_read_to_its_end() -> None:
    """It has at most 200 lines."""
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
