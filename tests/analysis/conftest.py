"""The ledger that the functions of `ittybatch` open."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _settings(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    monkeypatch.setenv("ITTYBATCH_HOME", str(tmp_path / "home"))
