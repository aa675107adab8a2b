"""The servers that are measured against, each a process of its own."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from socket import socket
from typing import Any

import orjson
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bench.objects import bucket_of
from ittybatch.receiver import inbox
from ittybatch.receiver.app import create_app
from ittybatch.receiver.serving import server_config
from ittybatch.settings import Settings

HOST = "127.0.0.1"
SECRET = "bench-secret"


@contextmanager
def serving(name: str, **environment: str) -> Iterator[int]:
    """Run one of this module's servers until the block ends; gives its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.servers", name],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"The server {name!r} did not start; see its messages above.")
        yield int(line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stdout.close()


def main(name: str, environment: Mapping[str, str]) -> None:
    """Listen on a free port, print it, and serve until told to stop."""
    if name == "api":
        config = uvicorn.Config(InstantApi(), access_log=False, log_level="error")
    elif name == "bucket":
        config = uvicorn.Config(bucket_of(environment), access_log=False, log_level="error")
    else:
        inbox.MAX_GROUP = int(environment.get("BENCH_GROUP", inbox.MAX_GROUP))
        app = create_app(Settings(), waker=False)
        app.router.routes.append(Route("/noop", noop, methods=["POST"]))
        config = server_config(app, host=HOST, port=0)
        logging.disable(logging.INFO)
    listener = socket()
    listener.bind((HOST, 0))
    listener.listen(128)  # whoever reads the port may connect at once, and waits for the rest
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config).run([listener])


async def noop(request: Request) -> Response:
    """Read the body and answer: what any route of the receiver costs at least."""
    await request.body()
    return PlainTextResponse("ok")


class InstantApi:
    """`POST /jobs`, answered at once: an API that is never what one waits for.

    `GET /jobs` has nothing to list.
    """

    def __init__(self) -> None:
        self._numbers = count(1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if scope["method"] == "GET":
            await _send(send, 200, {"data": [], "meta": {"has_more": False}})
            return
        asked = orjson.loads(body)
        await _send(
            send,
            201,
            {
                "id": f"task_{next(self._numbers):012}",
                "object": "job",
                "kind": asked["kind"],
                "input": asked["input"],
                "options": asked["options"],
                "metadata": asked.get("metadata", {}),
                "status": "queued",
                "error": None,
                "created_at": 1775212200000,
            },
        )


async def _send(send: Any, status: int, content: Any) -> None:  # noqa: ANN401
    body = orjson.dumps(content)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    main(sys.argv[1], os.environ)
