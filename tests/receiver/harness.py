"""A running receiver, and what is sent to it."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
import uvicorn
from sqlalchemy import Row, select

from ittybatch.ittybit.signature import HEADER, sign
from ittybatch.ledger import Ledger
from ittybatch.ledger.models import Delivery
from ittybatch.receiver.api.taking import RunsIntake
from ittybatch.receiver.app import Receiver
from ittybatch.receiver.serving import server_config
from ittybatch.settings import Settings

SECRET = "a shared secret"
PATH = "/webhooks/ittybit"


def wait_until(met: Callable[[], object], *, within_s: float = 20) -> None:
    """Look again and again until it is so, and fail when it never is."""
    deadline = time.monotonic() + within_s
    while not met():
        assert time.monotonic() < deadline, f"not so within {within_s} s: {met}"
        time.sleep(0.02)


class Running:
    """A receiver that is up."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=20, trust_env=False)

    def post(self, body: object, *, signature: str | None = None) -> httpx.Response:
        """Send a webhook, signed unless a signature is given; "" sends none."""
        [answer] = self.post_at_once([body], signature=signature)
        return answer

    def post_at_once(
        self, bodies: Sequence[object], *, signature: str | None = None
    ) -> list[httpx.Response]:
        """Send webhooks at the same time, each over a connection of its own."""

        async def send() -> list[httpx.Response]:
            limits = httpx.Limits(max_connections=len(bodies))
            async with httpx.AsyncClient(limits=limits, timeout=20) as client:
                return await asyncio.gather(
                    *(
                        client.post(f"{self.url}{PATH}", content=raw(body), headers=headers)
                        for body in bodies
                        for headers in [_headers(raw(body), signature)]
                    )
                )

        return asyncio.run(send())

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            yield connection

    def metric(self, sample: str) -> float:
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        return 0


def raw(body: object) -> bytes:
    """The bytes of a webhook."""
    return body if isinstance(body, bytes) else orjson.dumps(body)


def _headers(body: bytes, signature: str | None) -> dict[str, str]:
    if signature is None:
        signature = sign(body, SECRET.encode())
    return {"Content-Type": "application/json"} | ({HEADER: signature} if signature else {})


@contextmanager
def running(
    ledger_url: str,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    intake: RunsIntake | None = None,
    called_by_jobs: bool = False,
    **changes: Any,  # noqa: ANN401
) -> Iterator[Running]:
    """Run a receiver until the block ends, on a free port unless one is given.

    Args:
        ledger_url: Its ledger.
        host: The address to listen on.
        port: The port; 0 chooses a free one.
        intake: In place of its own.
        called_by_jobs: Whether its jobs name it as their webhook URL.
        changes: More settings.
    """
    given: dict[str, Any] = {"webhook_secret": SECRET, "database_url": ledger_url, **changes}
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        port = listener.getsockname()[1]
        if called_by_jobs:
            given["webhook_url"] = f"http://{host}:{port}{PATH}"
        app = Receiver(Settings(**given), waker=False, intake=intake).everything()
        config = server_config(app, host=host, port=port)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started
            yield Running(port)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def deliveries(ledger: Ledger) -> list[Row[Any]]:
    """What the inbox holds."""
    return ledger.read(
        lambda tx: tx.rows(
            select(Delivery.task_id, Delivery.verdict, Delivery.times, Delivery.body).order_by(
                Delivery.received_at, Delivery.digest
            )
        )
    )


def payload(task: str, status: str = "succeeded", **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """A webhook about a job, as the current API sends it."""
    output = {"url": f"https://cdn.test/{task}.mp4", "format": "mp4", "width": 854, "height": 480}
    return {
        "id": task,
        "status": status,
        "kind": "video",
        "output": output if status == "succeeded" else None,
        "metadata": {},
        **changes,
    }
