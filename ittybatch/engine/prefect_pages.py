"""Addresses in the Prefect UI, for people: without a password that the API's address may have."""

from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, get_current_settings

from ittybatch.ittybit.redaction import without_secrets


def ui_url() -> str | None:
    """Return the URL of Prefect's UI; None if Prefect's address is not set."""
    address = get_current_settings().ui_url
    return None if address is None else _without_api(address)


def flow_run_url(flow_run: str | None, api_url: str | None = None) -> str | None:
    """Return the URL of a run's page in Prefect's UI; None if Prefect's address is not set.

    Args:
        flow_run: Prefect's id of the run; None if there is none.
        api_url: The API's address, if the settings do not have it.
    """
    address = PREFECT_UI_URL.value() or api_url or PREFECT_API_URL.value()
    if flow_run is None or address is None:
        return None
    return f"{_without_api(address)}/runs/flow-run/{flow_run}"


def _without_api(address: str) -> str:
    return without_secrets(address).rstrip("/").removesuffix("/api")
