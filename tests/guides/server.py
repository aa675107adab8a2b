"""The receiver in the place of a guide's own server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ittybatch.settings import CHECKOUT
from tests.receiver.harness import Running as Receiver
from tests.receiver.harness import running, wait_until
from tests.sandbox.harness import KEY
from tests.sandbox.harness import Running as Sandbox

TOKEN = "a token of thirty characters.."
CONNECTION = "conn_abc123"


@dataclass(frozen=True)
class Server:
    """A receiver that takes requests, and the Ittybit that it sends them to."""

    receiver: Receiver
    sandbox: Sandbox

    @property
    def url(self) -> str:
        return self.receiver.url

    def process(self, body: object, **headers: str) -> httpx.Response:
        """Send a request, or an event, with the token."""
        return httpx.post(
            f"{self.url}/process", json=body, headers=_authorized() | headers, trust_env=False
        )

    def taken(self, body: object, **headers: str) -> dict[str, Any]:
        """The answer to a request that is taken."""
        answer = self.process(body, **headers)
        assert answer.status_code == 202, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as `GET /jobs/{id}` shows it."""
        answer = httpx.get(f"{self.url}/jobs/{job_id}", headers=_authorized(), trust_env=False)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def sent(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The job of an answer at Ittybit. A slow machine answers first and sends then."""
        wait_until(lambda: self.job(answer["job_id"])["task_id"])
        task_id = self.job(answer["job_id"])["task_id"]
        assert answer["task_id"] in {None, task_id}
        return self.sandbox.job(task_id)

    def ended(self, job_id: str) -> dict[str, Any]:
        """A job once its webhook has come."""
        wait_until(lambda: self.job(job_id)["status"] != "processing")
        return self.job(job_id)


@contextmanager
def serving(
    sandbox: Sandbox,
    ledger_url: str,
    folder: Path,
    *,
    intake: str | None = None,
    results: Path | None = None,
) -> Iterator[Server]:
    """Run a receiver that takes requests, until the block ends.

    Args:
        sandbox: Where it sends them.
        ledger_url: Its ledger.
        folder: A folder for its files.
        intake: The content of intake.yaml, if it declares something.
        results: The file that declares its sinks, if there are any.
    """
    nothing = folder / "nothing.yaml"
    nothing.touch()
    intake_file = folder / "intake.yaml"
    intake_file.write_text(intake or "")
    with running(
        ledger_url,
        called_by_jobs=True,
        api_token=TOKEN,
        api_key=KEY,
        api_url=sandbox.url,
        connection_id=CONNECTION,
        home=folder / "home",
        profiles_dir=CHECKOUT / "deployments" / "profiles",
        intake_file=intake_file,
        results_file=results or nothing,
    ) as receiver:
        yield Server(receiver, sandbox)


def _authorized() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}
