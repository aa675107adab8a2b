"""Sends one request to the API of a stack, and waits for its result."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from ittybatch_local.errors import StackError

_ANSWER_WITHIN_S = 30.0
_RESULT_WITHIN_S = 180.0
_LOOK_EVERY_S = 0.1
_UNDER_WAY = {"processing"}


@dataclass(frozen=True, slots=True)
class Requested:
    """A request's result.

    Args:
        answered_s: Seconds until the API's answer.
        ended_s: Seconds until the result was there.
        job: The job, as `GET /jobs/{id}` shows it.
    """

    answered_s: float
    ended_s: float
    job: Mapping[str, Any]


def request(url: str, token: str, body: Mapping[str, Any]) -> Requested:
    """Send a request for one job, and wait until the job has ended.

    Args:
        url: The receiver's address.
        token: The API's bearer token.
        body: What is wanted.

    Raises:
        StackError: The API refused the request, or there was no result in time.
    """
    began = time.monotonic()
    # The receiver is on this machine, so no proxy leads to it.
    with httpx.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=_ANSWER_WITHIN_S,
        trust_env=False,
    ) as client:
        job_id = _content(client.post("/process", json=dict(body)))["job_id"]
        answered_s = time.monotonic() - began
        while (job := _content(client.get(f"/jobs/{job_id}")))["status"] in _UNDER_WAY:
            if time.monotonic() - began > _RESULT_WITHIN_S:
                raise StackError(f"Job {job_id} had no result after {_RESULT_WITHIN_S:g} s.")
            time.sleep(_LOOK_EVERY_S)
    return Requested(answered_s, time.monotonic() - began, job)


def _content(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise StackError(
            f"The API answered {answer.status_code}: {answer.text[:500]}",
            remedy="Look at the receiver's log in the stack's folder.",
        )
    content: dict[str, Any] = answer.json()
    return content
