"""A client of the receiver's API, and an intake that only notes what it is given."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson

from ittybatch.intake.taken import Taken, TakenJob
from ittybatch.intake.wanted import Wanted
from tests.receiver.harness import Running, running

TOKEN = "a token of thirty characters.."
URL = "https://example.com/uploads/video.mov"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class NotingIntake:
    """An intake without a ledger.

    Args:
        fails: Makes the error of a request, if it is to fail.
    """

    def __init__(self, fails: Callable[[Wanted], Exception | None] = lambda _: None) -> None:
        self.wanted: list[Wanted] = []
        self.waits: list[float] = []
        self.jobs: list[TakenJob] = []
        self._fails = fails

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    async def take(self, wanted: Wanted, *, answer_within_s: float = 0.8) -> Taken:
        self.wanted.append(wanted)
        self.waits.append(answer_within_s)
        if error := self._fails(wanted):
            raise error
        jobs = self.jobs or [
            job(str(number), kind=task.kind) for number, task in enumerate(wanted.tasks, 1)
        ]
        return Taken("batch-1", jobs)

    async def taken_before(self, wanted: Wanted) -> Taken | None:
        del wanted
        return None


def job(job_id: str, **changes: Any) -> TakenJob:  # noqa: ANN401
    """A job that was just sent."""
    given: dict[str, Any] = {
        "job_id": job_id,
        "task_id": f"task_{job_id}",
        "rendition": changes.get("kind", "video"),
        "kind": "video",
        "status": "processing",
        "output_url": None,
        "error": None,
        "created": True,
    }
    return TakenJob(**{**given, **changes})


class Api:
    """A client with the token."""

    def __init__(self, up: Running) -> None:
        self.up = up

    def post(
        self,
        content: object,
        *,
        path: str = "/process",
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        body = content if isinstance(content, bytes) else orjson.dumps(content)
        return httpx.post(
            f"{self.up.url}{path}",
            content=body,
            headers={"Content-Type": "application/json", **AUTHORIZED, **(headers or {})},
            timeout=20,
            trust_env=False,
        )

    def get(self, path: str) -> httpx.Response:
        return self.up.get(path, AUTHORIZED)


@contextmanager
def serving(
    ledger_url: str,
    intake: NotingIntake,
    **changes: Any,  # noqa: ANN401
) -> Iterator[Api]:
    """Run a receiver whose API is on."""
    with running(ledger_url, intake=intake, api_token=TOKEN, **changes) as up:
        yield Api(up)
