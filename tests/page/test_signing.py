"""A bucket that does not answer holds up its own media, once, and no other's."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from ittybatch.errors import IttybatchError
from ittybatch.page import signing
from ittybatch.page.signing import Signer
from tests.receiver.harness import wait_until


def test_a_dead_bucket_is_asked_once_in_a_while_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page with ten outputs would wait ten times, and other pages with it."""
    asked: list[str] = []
    gives_up = threading.Event()

    def make(bucket: str) -> Any:  # noqa: ANN401
        asked.append(bucket)
        if bucket == "dead":
            assert gives_up.wait(10)
            raise IttybatchError("s3://dead/ could not be listed: a timeout.", remedy="Wait.")
        return SimpleNamespace(name=bucket)

    monkeypatch.setattr(signing, "_make_client", make)
    signer = Signer()
    with ThreadPoolExecutor(3) as viewers:
        try:
            waiting = [viewers.submit(signer.client, "dead") for _ in range(2)]
            wait_until(lambda: "dead" in asked)
            alive: Any = viewers.submit(signer.client, "alive").result(timeout=5)
            assert alive.name == "alive"
            assert not any(each.done() for each in waiting)
        finally:
            gives_up.set()
        for each in waiting:
            assert "could not be listed" in str(each.exception(timeout=5))
    with pytest.raises(IttybatchError, match="could not be listed"):
        signer.client("dead")
    assert asked.count("dead") == 1
    assert signer.look("s3://dead/film.mp4").remedy == "Wait."
    monkeypatch.setattr(signing, "_FAILED_FOR_S", 0.0)
    other = Signer()
    for _ in range(2):
        with pytest.raises(IttybatchError):
            other.client("dead")
    assert asked.count("dead") == 3
