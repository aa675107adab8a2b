"""Prefect's address may have a password: nobody is shown it."""

from collections.abc import Iterator

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_UI_URL,
    temporary_settings,
)

from ittybatch.engine.flow_runs import FlowRuns, flow_run_url, ui_url
from ittybatch.engine.prefect_checks import check_prefect

PASSWORD = "geheim99"


@pytest.fixture(params=[False, True], ids=["API", "UI"])
def address(request: pytest.FixtureRequest) -> Iterator[None]:
    """The address with a password, as it is set for the API alone, or for the UI too."""
    url = f"http://ann:{PASSWORD}@127.0.0.1:9"
    given = {PREFECT_API_URL: f"{url}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings({**given, PREFECT_UI_URL: url} if request.param else given):
        yield


@pytest.mark.usefixtures("address")
def test_addresses_of_prefects_pages_have_no_password() -> None:
    """On Health, in notices, in reports and in what commands print."""
    run = "http://127.0.0.1:9/runs/flow-run/r1"
    assert ui_url() == "http://127.0.0.1:9"
    assert flow_run_url("r1") == run
    with get_client(sync_client=True) as client:
        assert FlowRuns(client).url("r1") == run


@pytest.mark.usefixtures("address")
def test_the_check_of_prefect_names_its_address_without_the_password() -> None:
    """Also if it does not answer."""
    [found] = check_prefect()
    assert found.what.startswith("http://127.0.0.1:9/api does not answer")
    assert PASSWORD not in f"{found}"
