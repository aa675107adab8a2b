"""Create a client of Ittybit's API from the settings."""

from collections.abc import Callable

from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import IttybitError
from ittybatch.settings import Settings


def connect(
    settings: Settings, *, on_retry: Callable[[IttybitError, float], None] | None = None
) -> IttybitClient:
    """Create a client for the API in the settings.

    Args:
        settings: Settings with `ITTYBIT_API_KEY` and `ITTYBIT_API_URL`.
        on_retry: Called before each retry with the error and the seconds to wait.

    Raises:
        ConfigurationError: The key is missing, or the address is invalid.
    """
    if settings.api_key is None or not settings.api_key.get_secret_value():
        raise ConfigurationError(
            "There is no API key for Ittybit.",
            remedy="Set ITTYBIT_API_KEY in the environment or in .env.",
        )
    return IttybitClient(
        settings.api_key.get_secret_value(),
        base_url=settings.api_url,
        max_connections=settings.submit_concurrency,
        on_retry=on_retry,
    )
