"""How `doctor` prints what it has found."""

import io

import pytest
from rich.console import Console

from ittybatch.cli import doctor
from ittybatch.engine.finding import Finding, Grade


def test_a_command_can_be_copied_from_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one line, as it is, below the table."""
    command = f"aws s3api put-bucket-cors --bucket b '{'[x] ' * 100}'"
    printed = io.StringIO()
    monkeypatch.setattr(doctor, "console", Console(file=printed, width=60, soft_wrap=True))
    doctor.show(
        [
            Finding("Uploads (CORS)", Grade.BROKEN, "No page can upload.", "Run it.", command),
            Finding("Ledger", Grade.OK, "It is there."),
        ]
    )
    lines = printed.getvalue().splitlines()
    assert lines[-2:] == ["Uploads (CORS):", command]
    assert any("-> Run it." in line for line in lines)
