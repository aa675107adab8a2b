"""Requests to Prefect while somebody waits for them."""

import contextlib
from collections.abc import Iterator

from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

# Prefect's own limits add up to six minutes for a request.
_IMPATIENT_S = 10.0
_IMPATIENT_RETRIES = 1


@contextlib.contextmanager
def impatient(most_s: float = _IMPATIENT_S) -> Iterator[None]:
    """Give up soon on a Prefect that does not answer: somebody waits. In this thread only.

    Args:
        most_s: Seconds to wait for an answer, with one retry; less if Prefect's settings say so.
    """
    limits = {
        PREFECT_API_REQUEST_TIMEOUT: min(most_s, PREFECT_API_REQUEST_TIMEOUT.value()),
        PREFECT_CLIENT_MAX_RETRIES: min(_IMPATIENT_RETRIES, PREFECT_CLIENT_MAX_RETRIES.value()),
    }
    with temporary_settings(limits):
        yield
