"""What the processes of a stack share."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ittybatch.errors import ConfigurationError
from ittybatch.settings import Settings
from ittybatch_local.demo import PRICES
from ittybatch_local.environment import (
    Parts,
    process_environment,
    shared_environment,
    write_environment,
)
from ittybatch_local.keys import StackSecrets

PORTS = {"prefect": 1, "postgres": 2, "s3": 3, "sandbox": 4, "receiver": 5}
SECRETS = StackSecrets("key", "secret", "password", "admin:pass", "a token of the home")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.chdir(tmp_path)
    for name in ("ITTYBIT_API_KEY", "ITTYBIT_WEBHOOK_SECRET", "WEBHOOK_URL", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return Settings()


def _shared(
    settings: Settings,
    kind_costs: dict[str, float] | None = None,
    **parts: Any,  # noqa: ANN401
) -> dict[str, str]:
    return shared_environment(
        Path("/home/x"),
        Parts(**parts),
        kind_costs=kind_costs,
        ports=PORTS,
        secrets=SECRETS,
        ledger_url="postgresql://x",
        intake_file=Path("/home/x/intake.yaml"),
        settings=settings,
    )


def test_everything_local_points_at_this_machine(settings: Settings) -> None:
    """The settings that the command line, the worker and the receiver read."""
    shared = _shared(settings)
    assert shared["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
    assert shared["PREFECT_API_AUTH_STRING"] == "admin:pass"
    assert shared["PREFECT_HOME"] == "/home/x/prefect"
    assert shared["AWS_ENDPOINT_URL"] == "http://127.0.0.1:3"
    assert shared["ITTYBIT_API_URL"] == "http://127.0.0.1:4"
    assert shared["WEBHOOK_URL"] == "http://127.0.0.1:5/webhooks/ittybit"
    assert shared["DATABASE_URL"] == "postgresql://x"
    assert shared["ITTYBATCH_HOME"] == "/home/x"
    assert "127.0.0.1" in shared["NO_PROXY"]


def test_the_api_is_on_and_takes_files_of_this_machine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the user's token or one of the home's own; local S3 is at a private address."""
    shared = _shared(settings)
    assert shared["ITTYBATCH_API_TOKEN"] == "a token of the home"
    assert shared["ITTYBATCH_ALLOW_PRIVATE_URLS"] == "true"
    assert shared["ITTYBATCH_INTAKE_FILE"] == "/home/x/intake.yaml"
    assert shared["ITTYBATCH_RESULTS_FILE"] == str(settings.results_file)
    monkeypatch.setenv("ITTYBATCH_API_TOKEN", "the user's own token")
    monkeypatch.setenv("ITTYBATCH_ALLOW_PRIVATE_URLS", "false")
    child = process_environment(_shared(Settings()), Parts())
    assert child["ITTYBATCH_API_TOKEN"] == "the user's own token"
    assert child["ITTYBATCH_ALLOW_PRIVATE_URLS"] == "false"


def test_the_demos_prices_are_for_a_user_without_prices(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process of the stack reads them; the user's own stay."""
    monkeypatch.delenv("ITTYBATCH_KIND_COSTS", raising=False)
    assert "ITTYBATCH_KIND_COSTS" not in _shared(settings)
    monkeypatch.setenv("ITTYBATCH_KIND_COSTS", _shared(settings, PRICES)["ITTYBATCH_KIND_COSTS"])
    assert Settings().kind_costs == PRICES
    monkeypatch.setenv("ITTYBATCH_KIND_COSTS", '{"video": 3}')
    child = process_environment(_shared(Settings(), PRICES), Parts())
    assert child["ITTYBATCH_KIND_COSTS"] == '{"video": 3}'


def test_for_the_real_ittybit_private_addresses_stay_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It cannot reach them."""
    monkeypatch.setenv("ITTYBIT_API_KEY", "a-real-key")
    shared = _shared(Settings(), s3=False, sandbox=False)
    assert "ITTYBATCH_ALLOW_PRIVATE_URLS" not in shared


def test_a_real_key_never_reaches_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox is given keys of its own."""
    monkeypatch.setenv("ITTYBIT_API_KEY", "a-real-key")
    monkeypatch.setenv("ITTYBIT_WEBHOOK_SECRET", "a-real-secret")
    shared = _shared(Settings())
    child = process_environment(shared, Parts())
    assert "a-real-key" not in child.values()
    assert "a-real-secret" not in child.values()


def test_without_the_sandbox_the_users_own_key_and_tunnel_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the real Ittybit is called with the real key."""
    monkeypatch.setenv("ITTYBIT_API_KEY", "a-real-key")
    monkeypatch.setenv("WEBHOOK_URL", "https://tunnel.example/webhooks/ittybit")
    shared = _shared(Settings(), sandbox=False)
    assert shared["ITTYBIT_API_KEY"] == "a-real-key"
    assert shared["ITTYBIT_API_URL"] == "https://api.ittybit.com"
    assert shared["WEBHOOK_URL"] == "https://tunnel.example/webhooks/ittybit"


def test_without_the_sandbox_a_key_is_needed(settings: Settings) -> None:
    """The message names the variable."""
    with pytest.raises(ConfigurationError, match="ITTYBIT_API_KEY is not set"):
        _shared(settings, sandbox=False)


def test_without_a_server_its_address_is_needed(settings: Settings) -> None:
    """The message names the variable."""
    with pytest.raises(ConfigurationError, match="PREFECT_API_URL is not set"):
        _shared(settings, server=False)


def test_a_given_server_is_used(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its key, which a server of our own must not see."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_API_KEY", "theirs")
    shared = _shared(settings, server=False)
    assert shared["PREFECT_API_URL"] == "http://127.0.0.1:9/api"
    assert "PREFECT_API_AUTH_STRING" not in shared
    assert process_environment(shared, Parts(server=False))["PREFECT_API_KEY"] == "theirs"
    assert "PREFECT_API_KEY" not in process_environment(_shared(settings), Parts())


def test_without_local_s3_the_users_aws_settings_hold(settings: Settings) -> None:
    """A profile stays, unless local keys are to be used instead."""
    theirs = {"AWS_PROFILE": "work", "PATH": "/bin"}
    with_s3 = process_environment(_shared(settings), Parts(), theirs)
    without_s3 = process_environment(_shared(settings, s3=False), Parts(s3=False), theirs)
    assert "AWS_PROFILE" not in with_s3
    assert with_s3["AWS_ACCESS_KEY_ID"]
    assert without_s3["AWS_PROFILE"] == "work"
    assert "AWS_ENDPOINT_URL" not in without_s3
    assert with_s3["PATH"] == without_s3["PATH"] == "/bin"


def test_the_file_is_read_by_a_shell_and_by_nobody_else(tmp_path: Path) -> None:
    """Values survive quoting."""
    file = tmp_path / "stack.env"
    odd = "a b $HOME 'q' \"p\" `x`"
    write_environment(file, {"ODD": odd})
    shell = ["/bin/sh", "-c", f'set -a; . {file}; printf %s "$ODD"']
    assert subprocess.run(shell, check=True, capture_output=True, text=True).stdout == odd
    assert file.stat().st_mode & 0o077 == 0
