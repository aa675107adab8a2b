"""A Prefect that accepts connections and does not answer is given up soon for who waits."""

import socket
import time

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from ittybatch.engine.flow_runs import PrefectUnavailable, open_flow_runs
from ittybatch.engine.impatience import impatient


def test_a_prefect_that_does_not_answer_is_given_up_after_one_retry() -> None:
    """With the client's usual limits it takes minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        began = time.monotonic()
        with (
            temporary_settings({PREFECT_API_URL: address}),
            impatient(0.2),
            open_flow_runs() as flow_runs,
        ):
            assert PREFECT_CLIENT_MAX_RETRIES.value() == 1
            with pytest.raises(PrefectUnavailable, match="ReadTimeout"):
                flow_runs.probe()
        assert time.monotonic() - began < 10
