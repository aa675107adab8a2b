"""A store that accepts connections and never answers delays only the viewer who asked for it."""

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ittybatch.page import new_library
from tests.page.new_jobs import Viewer, serving, text
from tests.sandbox import harness as sandboxes


@pytest.fixture
def viewer(sqlite_url: str, tmp_path: Path) -> Iterator[Viewer]:
    """Somebody on the receiver's machine."""
    with sandboxes.running() as sandbox, serving(sqlite_url, tmp_path, sandbox) as up:
        yield Viewer(up)


@pytest.fixture
def silent_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What `AWS_ENDPOINT_URL` names."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        silent.settimeout(10)
        yield silent


def test_an_inventory_that_cannot_be_read_holds_up_nobody_else(
    viewer: Viewer, silent_store: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver answers webhooks meanwhile, and the viewer is told after some seconds."""
    monkeypatch.setattr(new_library, "_MANIFEST_WITHIN_S", 12.0, raising=False)
    key = re.search(r'name="key" value="([0-9a-f]+)"', viewer.get("/page/new").text)
    assert key
    form = {
        "key": key[1],
        "source": "inventory+s3://bucket/inv/manifest.json",
        "make": "profile:web",
    }
    with ThreadPoolExecutor(1) as threads:
        posted = threads.submit(viewer.post, "/page/new/library", form)
        asked, _ = silent_store.accept()
        with asked:
            began = time.monotonic()
            assert viewer.get("/healthz").status_code == 200
            assert time.monotonic() - began < 2
            assert not posted.done(), "it waits for the store"
            answer = posted.result()
    assert time.monotonic() - began < 10
    assert answer.status_code >= 400
    assert "s3://bucket/inv/manifest.json cannot be read" in text(answer)
