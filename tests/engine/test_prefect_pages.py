"""Prefect's address may have a password: nobody is shown it."""

from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_UI_URL,
    temporary_settings,
)

from ittybatch.engine.flow_runs import FlowRuns, PrefectUnavailable
from ittybatch.engine.prefect_checks import check_prefect
from ittybatch.engine.prefect_pages import flow_run_url, ui_url
from ittybatch.prefect.registering import register_blocks

PASSWORD = "geheim99"


@pytest.fixture(params=[False, True], ids=["API", "UI"])
def address(request: pytest.FixtureRequest) -> Iterator[None]:
    """The address with a password, as it is set for the API alone, or for the UI too."""
    url = f"http://ann:{PASSWORD}@127.0.0.1:9"
    given = {PREFECT_API_URL: f"{url}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings({**given, PREFECT_UI_URL: url} if request.param else given):
        yield


class _Broken(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)

    do_POST = do_PATCH = do_GET  # noqa: N815  the names that http.server looks for


def test_a_refused_registration_does_not_repeat_the_password() -> None:
    """The error of Prefect's client names the whole address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Broken) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://ann:{PASSWORD}@127.0.0.1:{server.server_port}/api"
        with (
            temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
            pytest.raises(PrefectUnavailable, match="did not register the block") as caught,
        ):
            register_blocks()
        server.shutdown()
    assert f"[redacted]@127.0.0.1:{server.server_port}" in str(caught.value)
    assert PASSWORD not in str(caught.value)


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
