"""Runs a sandbox in a thread of the current process, for tests."""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import uvicorn

from ittybit_sandbox.config import SandboxConfig
from ittybit_sandbox.errors import ConfigurationError
from ittybit_sandbox.server import listen, server_settings

_START_WITHIN_S: Final = 30.0
_STOP_WITHIN_S: Final = 15.0
_REQUEST_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that accepts requests.

    Args:
        url: Base URL of its API.
        api_key: The key that it accepts as a bearer token.
        webhook_secret: The key of its webhooks' HMAC signatures.
    """

    url: str
    api_key: str
    webhook_secret: str

    def reset(self) -> None:
        """Forget every job, webhook endpoint, Idempotency-Key, count and injected fault."""
        self._call("POST", "/_sandbox/reset", b"{}")

    def inject(self, faults: Mapping[str, object]) -> None:
        """Replace the injected faults; `ittybit_sandbox.faults` documents the format.

        Raises:
            urllib.error.HTTPError: The sandbox refused the faults.
        """
        self._call("POST", "/_sandbox/faults", json.dumps(faults).encode())

    def jobs(self) -> list[dict[str, Any]]:
        """List every job that the sandbox has accepted, oldest first, with its deliveries."""
        found: list[dict[str, Any]] = self._call("GET", "/_sandbox/jobs")
        return found

    def summary(self) -> dict[str, Any]:
        """Count requests, jobs, replays and webhook deliveries."""
        found: dict[str, Any] = self._call("GET", "/_sandbox/summary")
        return found

    def _call(self, method: str, path: str, body: bytes | None = None) -> Any:  # noqa: ANN401
        request = urllib.request.Request(self.url + path, data=body, method=method)  # noqa: S310
        # A proxy that the environment names is for other hosts.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_REQUEST_TIMEOUT_S) as response:
            return json.load(response)


@contextmanager
def running(config: SandboxConfig) -> Iterator[RunningSandbox]:
    """Run a sandbox until the block ends.

    Args:
        config: Its settings; port 0 takes a free one.

    Raises:
        ConfigurationError: The port is taken, ffmpeg is missing, or `state_dir` cannot be used.
    """
    with listen(config) as listener:
        bound = config.model_copy(update={"port": listener.getsockname()[1]})
        server = uvicorn.Server(server_settings(bound, grace_s=1))
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="ittybit-sandbox", daemon=True
        )
        thread.start()
        try:
            deadline = time.monotonic() + _START_WITHIN_S
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise ConfigurationError("The sandbox could not start; its log says why.")
                time.sleep(0.01)
            yield RunningSandbox(
                bound.base_url,
                config.api_key.get_secret_value(),
                config.webhook_secret.get_secret_value(),
            )
        finally:
            server.should_exit = True
            thread.join(_STOP_WITHIN_S)
