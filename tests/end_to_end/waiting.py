"""Waiting for what other processes do: until it is so, or until it is too late."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_EVERY_S = 0.1


def until(
    found: Callable[[], T | None],
    what: str,
    *,
    within_s: float = 60.0,
    every_s: float = _LOOK_EVERY_S,
) -> T:
    """Ask again and again, and give the first answer that is true.

    Args:
        found: What to ask.
        what: What is waited for, for the message when it does not come.
        within_s: Seconds after which the test fails.
        every_s: Seconds between two questions.
    """
    deadline = time.monotonic() + within_s
    answer = found()
    while not answer:
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)
        answer = found()
    return answer
