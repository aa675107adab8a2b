"""A running API of uploads over a real bucket, with an intake that only notes what it takes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette

from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.taken import Taken, TakenJob
from ittybatch.intake.wanted import Wanted
from ittybatch.project import CHECKOUT
from ittybatch.receiver.api import create_api
from ittybatch.receiver.api.uploads import UploadRoutes
from ittybatch.receiver.metrics import Metrics
from ittybatch.receiver.serving import server_config
from ittybatch.settings import Settings
from tests.receiver.harness import wait_until

TOKEN = "the-token-of-these-tests"
PAGE = "https://app.example.com"
MB = 1000**2
MIB = 1024**2


class NotingIntake:
    """Takes requests as `Intake` does, without a ledger: one key is one request."""

    def __init__(self) -> None:
        self.taken: list[Wanted] = []
        self.fails_with: Exception | None = None
        self._answers: dict[str | None, Taken] = {}

    async def take(self, wanted: Wanted, *, answer_within_s: float = 0.8) -> Taken:
        del answer_within_s
        assert wanted.idempotency_key
        if self.fails_with is not None:
            raise self.fails_with
        if wanted.idempotency_key not in self._answers:
            self.taken.append(wanted)
            number = str(len(self.taken))
            job = TakenJob(
                number, f"task_{number}", "web", "video", "processing", None, None, created=True
            )
            self._answers[wanted.idempotency_key] = Taken("batch", [job])
        return self._answers[wanted.idempotency_key]


class Api:
    """The running API.

    Args:
        url: Its address.
        intake: What takes its uploads.
    """

    def __init__(self, url: str, intake: NotingIntake) -> None:
        self.url = url
        self.intake = intake

    def begin(self, **changes: Any) -> httpx.Response:  # noqa: ANN401
        """Announce a file of 5 bytes, or another one."""
        body = {"filename": "clip.mov", "content_type": "video/quicktime", "size": 5, **changes}
        body = {name: value for name, value in body.items() if value is not None}
        return self.call("POST", f"{self.url}/uploads", body, token=TOKEN)

    def begun(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
        """Announce a file that is accepted."""
        answer = self.begin(**changes)
        assert answer.status_code == 201, answer.text
        begun: dict[str, Any] = answer.json()
        return begun

    def call(
        self,
        method: str,
        url: str,
        body: object = None,
        *,
        token: str | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Call a route, with or without the token."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.request(method, url, json=body, headers=headers, timeout=30, trust_env=False)


def put(url: str, content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """Send bytes to a presigned URL, as a browser does."""
    answer = httpx.put(url, content=content, headers=headers, timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer


def send_all(api: Api, begun: dict[str, Any], content: bytes) -> list[dict[str, Any]]:
    """Send every part, and ask for more URLs until there are none."""
    parts = []
    while True:
        for part in begun["parts"]:
            piece = content[part["offset"] : part["offset"] + part["size"]]
            etag = put(part["url"], piece, begun["headers"]).headers["ETag"]
            parts.append({"number": part["number"], "etag": etag})
        if begun["more_url"] is None:
            return parts
        begun = api.call("GET", begun["more_url"]).json()


@contextmanager
def serving(declared: UploadsDeclared | None, **changes: Any) -> Iterator[Api]:  # noqa: ANN401
    """Run the API on a free port until the block ends."""
    given: dict[str, Any] = {
        "api_token": SecretStr(TOKEN),
        "profiles_dir": CHECKOUT / "deployments" / "profiles",
        **changes,
    }
    intake = NotingIntake()
    routes = UploadRoutes(Settings(**given), intake, declared)
    app = Starlette()
    api = create_api(TOKEN, [routes.router()], Metrics(), [routes.browser_router()], routes.origins)
    app.mount("", api)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(server_config(app, host="127.0.0.1", port=port))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            yield Api(f"http://127.0.0.1:{port}", intake)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
