"""Create a client of Ittybit's API from the settings."""

from collections.abc import Callable

from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import IttybitError
from ittybatch.settings import Settings

_QUICK_TIMEOUT_S = 8.0
_QUICK_ATTEMPTS = 3
_QUICK_FIRST_WAIT_S = 0.1
_QUICK_MAX_WAIT_S = 2.0


def connect(
    settings: Settings,
    *,
    on_retry: Callable[[IttybitError, float], None] | None = None,
    patient: bool = True,
) -> IttybitClient:
    """Create a client for the API in the settings.

    Args:
        settings: Settings with `ITTYBIT_API_KEY` and `ITTYBIT_API_URL`.
        on_retry: Called before each retry with the error and the seconds to wait.
        patient: Whether to retry for minutes; otherwise a request ends within half a minute,
            because another process sends it again.

    Raises:
        ConfigurationError: The key is missing, or the address is invalid.
    """
    key = require_key(settings)
    if patient:
        return IttybitClient(
            key,
            base_url=settings.api_url,
            max_connections=settings.submit_concurrency,
            on_retry=on_retry,
        )
    return IttybitClient(
        key,
        base_url=settings.api_url,
        max_connections=settings.submit_concurrency,
        on_retry=on_retry,
        timeout_s=_QUICK_TIMEOUT_S,
        attempts=_QUICK_ATTEMPTS,
        retry_wait_initial_s=_QUICK_FIRST_WAIT_S,
        retry_wait_cap_s=_QUICK_MAX_WAIT_S,
    )


def require_key(settings: Settings) -> str:
    """Return the API key of the settings.

    Raises:
        ConfigurationError: There is none.
    """
    if settings.api_key is None or not settings.api_key.get_secret_value():
        raise ConfigurationError(
            "There is no API key for Ittybit.",
            remedy="Set ITTYBIT_API_KEY in the environment or in .env.",
        )
    return settings.api_key.get_secret_value()
