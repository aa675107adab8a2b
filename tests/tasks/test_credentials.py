"""The credentials block of a flow run: one project, and what becomes of a leg without it."""

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from ittybatch.engine.flow_runs import PrefectUnavailable
from ittybatch.ledger import Ledger
from ittybatch.prefect import IttybitCredentials
from ittybatch.settings import Settings
from ittybatch.tasks.credentials import settings_of_block, with_credentials
from ittybatch.tasks.leg import LegInterrupted, settings_and_ledger
from tests.ledger import library
from tests.prefect.stand_in import prefect_answers


def _document(data: dict[str, str]) -> Callable[[], Settings]:
    return lambda: settings_of_block(data)


@pytest.mark.parametrize(
    "settings_of",
    [
        _document({"api_key": "key-of-the-studio"}),
        _document({"api_key": "key-of-the-studio", "connection_id": "", "api_url": ""}),
        IttybitCredentials(api_key=SecretStr("key-of-the-studio")).settings,
    ],
)
def test_what_a_block_lacks_is_not_taken_from_another_project(
    monkeypatch: pytest.MonkeyPatch, settings_of: Callable[[], Settings]
) -> None:
    """Its key could not use the worker's connection; other settings are the worker's."""
    monkeypatch.setenv("ITTYBIT_API_KEY", "key-of-the-worker")
    monkeypatch.setenv("ITTYBIT_API_URL", "https://ittybit.worker.test")
    monkeypatch.setenv("ITTYBIT_CONNECTION_ID", "conn_ofworker")
    monkeypatch.setenv("ITTYBIT_WEBHOOK_SECRET", "secret-of-the-worker")
    monkeypatch.setenv("WEBHOOK_URL", "https://receiver.test/webhooks")
    found = settings_of()
    assert found.api_key == SecretStr("key-of-the-studio")
    assert found.api_url == "https://api.ittybit.com"
    assert (found.connection_id, found.webhook_secrets) == (None, ())
    assert found.webhook_url == "https://receiver.test/webhooks"


@pytest.mark.parametrize("status", [500, 403])
def test_a_prefect_that_does_not_give_the_block_interrupts_a_leg(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Another leg may get it, unless Prefect refuses it, or no batch has begun to be replaced."""
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    monkeypatch.setenv("ITTYBATCH_CREDENTIALS_BLOCK", "studio")
    monkeypatch.setattr("ittybatch.tasks.leg.this_run", lambda: ("run-1", "deployment"))
    with prefect_answers((status, {"detail": "not now"})):
        with pytest.raises(PrefectUnavailable, match=f"{status}.*'studio'"):
            with_credentials(Settings())
        with pytest.raises(PrefectUnavailable), settings_and_ledger():
            pass
        library.new_batch(ledger, flow_run_id="run-1")
        passes = LegInterrupted if status == 500 else PrefectUnavailable
        with pytest.raises(passes, match="'studio'"), settings_and_ledger():
            pass
