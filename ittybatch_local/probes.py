"""How the stack finds out that a service answers."""

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus

import httpx

TIMEOUT_S = 2.0


def answers(url: str) -> Callable[[], bool]:
    """Probe a URL: any answer that is not a server error means ready."""

    def probe() -> bool:
        try:
            # Never through a proxy: these are this machine's own ports.
            response = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
        except httpx.HTTPError:
            return False
        return response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR

    return probe


def is_healthy(url: str) -> Callable[[], bool]:
    """Probe a health page: only success means ready."""

    def probe() -> bool:
        try:
            return httpx.get(url, timeout=TIMEOUT_S, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    return probe


def worker_is_online(
    api_url: str, pool: str, name: str, *, since: datetime, headers: Mapping[str, str]
) -> Callable[[], bool]:
    """Probe Prefect's API for a worker that has announced itself to its pool.

    Args:
        api_url: The API's address.
        pool: The work pool.
        name: The worker's name.
        since: What it has announced before this moment was an earlier worker's word.
        headers: What the API wants by way of authorization.
    """

    def probe() -> bool:
        try:
            response = httpx.post(
                f"{api_url}/work_pools/{pool}/workers/filter",
                json={"limit": 200},
                headers=dict(headers),
                timeout=TIMEOUT_S,
            )
            response.raise_for_status()
        except httpx.HTTPError:
            return False
        return any(
            worker["name"] == name and datetime.fromisoformat(worker["last_heartbeat_time"]) > since
            for worker in response.json()
            if worker["last_heartbeat_time"]
        )

    return probe
