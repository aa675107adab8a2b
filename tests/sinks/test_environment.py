"""Secrets in the environment, or in `.env`."""

from pathlib import Path

import pytest

from ittybatch.errors import ConfigurationError
from ittybatch.sinks.environment import resolve


def test_a_reference_is_replaced_by_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also inside of longer text."""
    monkeypatch.setenv("APP_HOST", "db.test")
    monkeypatch.setenv("APP_TOKEN", "abc")
    assert resolve("https://${APP_HOST}/${APP_TOKEN}?x=$1", "app") == "https://db.test/abc?x=$1"


def test_the_file_env_counts_where_the_environment_has_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for settings: local stacks keep their secrets there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("APP_TOKEN", raising=False)
    (tmp_path / ".env").write_text("APP_TOKEN=from-the-file\n")
    assert resolve("${APP_TOKEN}", "app") == "from-the-file"
    monkeypatch.setenv("APP_TOKEN", "from-the-environment")
    assert resolve("${APP_TOKEN}", "app") == "from-the-environment"


def test_a_variable_without_a_value_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the sink that needs it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APP_TOKEN", " ")
    with pytest.raises(ConfigurationError, match=r"sink 'app' needs .* APP_TOKEN"):
        resolve("Bearer ${APP_TOKEN}", "app")
