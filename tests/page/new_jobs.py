"""A receiver with its page and without the API, in front of a sandbox; and a viewer of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from ittybatch_local.ports import choose_ports
from tests.receiver.harness import PATH, Running, running
from tests.sandbox import harness as sandboxes

PROFILE = """
renditions:
  - {name: hd, kind: video, options: {width: 1280}}
  - {name: sound, kind: audio, options: {format: mp3}, when: {media: [video, audio]}}
  - {name: small, kind: video, options: {width: 320}, when: {max_size: 1MB}}
"""
MORE = "  - {name: still, kind: image, options: {width: 640}, when: {media: [video]}}\n"
URL = "https://example.com/uploads/film.mov"


class Viewer:
    """Somebody at the page, without script.

    Args:
        up: The receiver.
        auth: User and password, if the page needs them.
    """

    def __init__(self, up: Running, auth: tuple[str, str] | None = None) -> None:
        self.up = up
        self._auth = auth

    def get(self, path: str) -> httpx.Response:
        return self._ask("GET", path)

    def post(self, path: str, fields: dict[str, Any], **headers: str) -> httpx.Response:
        """Send a form of the page."""
        return self._ask("POST", path, data=fields, headers={"Origin": self.up.url, **headers})

    def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:  # noqa: ANN401
        url = path if path.startswith("http") else f"{self.up.url}{path}"
        return httpx.request(method, url, auth=self._auth, timeout=20, trust_env=False, **given)

    def preview(self, **fields: str) -> httpx.Response:
        """Ask what an address would make."""
        return self.post("/page/new/address", {"url": URL, "make": "profile:web", **fields})


def sealed(answer: httpx.Response) -> str:
    """The field that a form of an answer confirms with."""
    found = re.search(r'name="sealed" value="([^"]+)"', answer.text)
    assert found, answer.text
    return found[1]


def text(answer: httpx.Response) -> str:
    """What a page says, without its markup."""
    main = answer.text.partition("<main")[2] or answer.text
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


@contextmanager
def serving(
    ledger_url: str,
    folder: Path,
    sandbox: sandboxes.Running,
    **changes: Any,  # noqa: ANN401
) -> Iterator[Running]:
    """Run the receiver; no API token is set."""
    profiles = folder / "profiles"
    profiles.mkdir(exist_ok=True)
    (profiles / "web.yaml").write_text(PROFILE)
    port = choose_ports(["receiver"], folder / "ports.json")["receiver"]
    given: dict[str, Any] = {
        "api_key": sandboxes.KEY,
        "api_url": sandbox.url,
        "webhook_url": f"http://127.0.0.1:{port}{PATH}",
        "profiles_dir": profiles,
        "home": folder / "home",
        **changes,
    }
    with running(ledger_url, port=port, **given) as up:
        yield up
