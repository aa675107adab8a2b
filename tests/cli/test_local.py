"""Commands beside a running stack."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import context

from ittybatch.cli.local import use_local_stack
from ittybatch.env_file import LOCAL_S3
from ittybatch.home import private_folder
from ittybatch_local.environment import write_environment
from ittybatch_local.lock import home_lock

STACK = {
    "PREFECT_API_URL": "http://127.0.0.1:15001/api",
    "PREFECT_API_AUTH_STRING": 'admin:it\'s "quoted"',
    "AWS_ENDPOINT_URL": "http://127.0.0.1:15002",
    LOCAL_S3: "true",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a stack, and an environment that is as it was after the test."""
    before = dict(os.environ)
    # Joining a stack refreshes Prefect's settings for the whole process.
    monkeypatch.setattr(context, "GLOBAL_SETTINGS_CONTEXT", context.GLOBAL_SETTINGS_CONTEXT)
    home = private_folder(tmp_path / "home")
    write_environment(home / "stack.env", STACK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITTYBATCH_HOME", str(home))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.test")
    yield home
    for name in set(os.environ) - set(before):
        del os.environ[name]


def test_a_running_stack_is_used_as_a_whole(home: Path) -> None:
    """With what its Prefect asks for, and without a setting that leads to a real bucket."""
    with home_lock(home):
        use_local_stack()
    assert {name: os.environ.get(name) for name in STACK} == STACK
    assert "AWS_ENDPOINT_URL_S3" not in os.environ


def test_a_stack_that_has_ended_is_not_used(home: Path) -> None:
    """Its file stays behind."""
    assert (home / "stack.env").exists()
    use_local_stack()
    assert "PREFECT_API_URL" not in os.environ
    assert os.environ["AWS_ENDPOINT_URL_S3"] == "https://s3.test"


def test_prefects_own_settings_go_before_the_stack(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has set an address means it."""
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.test/api")
    with home_lock(home):
        use_local_stack()
    assert os.environ["PREFECT_API_URL"] == "https://prefect.test/api"
    assert "PREFECT_API_AUTH_STRING" not in os.environ
