"""Health checks of the stack's services."""

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus

import httpx

TIMEOUT_S = 2.0


def answers(url: str) -> Callable[[], bool]:
    """Probe a URL: any status below 500 means ready."""
    return lambda: _status(url) < HTTPStatus.INTERNAL_SERVER_ERROR


def is_healthy(url: str) -> Callable[[], bool]:
    """Probe a health endpoint: only status 200 means ready."""
    return lambda: _status(url) == HTTPStatus.OK


def worker_is_online(
    api_url: str, pool: str, name: str, *, since: datetime, headers: Mapping[str, str]
) -> Callable[[], bool]:
    """Probe Prefect's API for the heartbeat of a worker.

    Args:
        api_url: The API's URL.
        pool: The work pool.
        name: The worker's name.
        since: Earlier heartbeats count as a previous worker's.
        headers: The headers that authorize the request.
    """

    def probe() -> bool:
        try:
            response = httpx.post(
                f"{api_url}/work_pools/{pool}/workers/filter",
                json={"limit": 200},
                headers=dict(headers),
                timeout=TIMEOUT_S,
                trust_env=False,  # never through a proxy
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


def _status(url: str) -> int:
    try:
        # Never through a proxy: the ports are on this machine.
        return httpx.get(url, timeout=TIMEOUT_S, trust_env=False).status_code
    except httpx.HTTPError:
        return HTTPStatus.SERVICE_UNAVAILABLE
