"""The other side of the wire: what the sandbox says that it was sent and has sent."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx


class Wire:
    """Asks a sandbox's admin endpoint.

    Args:
        url: Where the sandbox listens.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def jobs(self, batch: str | None = None) -> list[dict[str, Any]]:
        """Every job that was created, or those whose metadata name a batch."""
        rows: list[dict[str, Any]] = self._get("/_sandbox/jobs")
        return [
            row
            for row in rows
            if batch is None or row["metadata"].get("ittybatch_batch_id") == batch
        ]

    def summary(self) -> dict[str, Any]:
        """Counts of what went over the wire."""
        found: dict[str, Any] = self._get("/_sandbox/summary")
        return found

    @property
    def created(self) -> int:
        """Jobs created so far."""
        return int(self.summary()["jobs_known"])

    @contextmanager
    def faults(self, faults: dict[str, Any]) -> Iterator[None]:
        """Let these faults strike until the end of the block."""
        self.strike(faults)
        try:
            yield
        finally:
            self.strike({})

    def strike(self, faults: dict[str, Any]) -> None:
        """Go on with these faults, in place of all others."""
        self._client.post("/_sandbox/faults", json=faults).raise_for_status()

    def redeliver(self, job: str) -> None:
        """Send the webhooks of a job that has ended once more, faults aside."""
        self._client.post(f"/_sandbox/redeliver/{job}").raise_for_status()

    def output(self, url: str) -> bytes:
        """An output, as anybody would fetch it."""
        return self._client.get(url).raise_for_status().content

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def _get(self, path: str) -> Any:  # noqa: ANN401  whatever the sandbox says
        return self._client.get(path).raise_for_status().json()
