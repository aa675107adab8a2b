"""Hostile names everywhere: shown on every page there is, and run on none."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page
from pydantic import SecretStr
from starlette.routing import Mount, Route

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.receiver.app import Receiver
from ittybatch.settings import Settings
from tests.chromium import chromium
from tests.page.hostile import BACKWARDS, SECRETS, Hostile, fill
from tests.receiver.harness import SECRET, Running, running

# Pages whose answer is no page of HTML: files, redirects to media, streams, pages of their own.
NO_PAGES = ("/static/", "/changes", "/media/{job}/{what}", "/playlist", "/report.")
MAY_BE_MISSING = ("/nowhere", "/media/", "/webhook", "/answer", "/arrived/", "/started/", "/made")
LOOK = """() => ({
  handlers: [...document.querySelectorAll("*")].flatMap(element =>
    [...element.attributes].filter(each => /^on|^hx-on/.test(each.name)).map(each => each.name)),
  scripts: [...document.scripts].map(each => each.src),
  frames: document.querySelectorAll("iframe, object, embed, base").length,
  links: [...document.querySelectorAll("[href], [src], [action], [poster]")].flatMap(each =>
    ["href", "src", "action", "poster"].map(name => each.getAttribute(name)).filter(Boolean)),
  text: document.body.innerText,
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def ledger(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    path = tmp_path_factory.mktemp("hostile") / "ledger.db"
    shutil.copy(sqlite_template, path)
    opened = Ledger(create_ledger_engine(f"sqlite:///{path}"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def receiver(ledger: Ledger) -> Iterator[Running]:
    with running(ledger.engine.url.render_as_string(hide_password=False)) as up:
        yield up


@pytest.fixture(scope="module")
def hostile(ledger: Ledger, receiver: Running) -> Hostile:
    return fill(ledger, receiver)


def addresses(ledger: Ledger, hostile: Hostile) -> list[str]:
    """Every page that the application serves, so that a new one is not forgotten."""
    values = {
        "batch": hostile.batch,
        "chunk": str(hostile.chunk),
        "number": str(hostile.number),
        "job": str(hostile.job),
        "id": str(hostile.job),
        "what": "source",
        "region": "failures",
        "sealed": "<script>alert(1)</script>",
        "flow_run": "<script>alert(1)</script>",
    }
    url = ledger.engine.url.render_as_string(hide_password=False)
    settings = Settings(webhook_secret=SecretStr(SECRET), database_url=SecretStr(url))
    receiver = Receiver(settings, waker=False).everything()
    [mount] = [
        each
        for each in receiver.routes
        if getattr(each, "path", "") == "/page" and isinstance(each, Mount)
    ]
    found = []
    for route in mount.app._app._app.routes:  # type: ignore[attr-defined]
        assert isinstance(route, Route)
        if "GET" not in (route.methods or ()) or any(part in route.path for part in NO_PAGES):
            continue
        path = route.path
        for name in route.param_convertors:
            # A parameter without a value here: add one.
            path = path.replace(f"{{{name}}}", quote(values[name]))
        found.append(f"/page{path}")
    queries: list[tuple[str, dict[str, str]]] = [
        ("/page/jobs", {"batch": hostile.batch}),
        ("/page/jobs", {"q": BACKWARDS, "metadata": "<script>"}),
        (
            f"/page/items/{hostile.chunk}/{hostile.number}/retry",
            {"job": str(hostile.job)},
        ),
        ("/page/new/made", {"jobs": str(hostile.job)}),
        ("/page/actions", {"actor": "<script>", "batch": hostile.batch}),
        ("/page/held", {"input": "s3://films/", "batch": hostile.batch}),
        ("/page/held", {"state": "failed"}),
        ("/page/held", {"input": '"><script>alert(1)</script>'}),
        ("/page/held/release", {"input": "s3://films/"}),
        ("/page/webhook", {"task": hostile.task, "digest": hostile.digest}),
        ("/page/media/9/output/state", {}),
        ("/page/nowhere<script>alert(1)</script>", {}),
    ]
    # Of pages that are there.
    wanted = [(path, query) for path, query in queries if path in found or not query]
    return [*found, *(f"{path}?{urlencode(query)}" for path, query in wanted)]


def test_no_page_runs_what_comes_from_outside(
    receiver: Running, ledger: Ledger, hostile: Hostile, browser: Browser
) -> None:
    """No dialog, no violation of the content policy, no handler, no script but our own.

    A policy alone would not be enough: what it stops should not have been on the page.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    trouble: list[str] = []
    here = ""

    def note(what: str) -> None:
        trouble.append(f"{here}: {what[:300]}")

    def on_dialog(dialog: Dialog) -> None:
        note(f"dialog {dialog.message}")
        dialog.dismiss()

    def on_console(message: ConsoleMessage) -> None:
        # That a file of another host is missing is no fault of the page.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            note(message.text)

    page.on("dialog", on_dialog)
    page.on("console", on_console)
    page.on("pageerror", lambda error: note(f"error {error}"))
    page.route("https://**", lambda route: route.abort())
    seen = 0
    for address in addresses(ledger, hostile):
        here = address
        answer = page.goto(f"{receiver.url}{address}", wait_until="load")
        assert answer is not None
        missing = answer.status == 404 and not any(part in address for part in MAY_BE_MISSING)
        if answer.status >= 500 or missing:
            note(f"the answer is {answer.status}")
        trouble += [f"{address}: {each}" for each in problems(page, receiver.url)]
        seen += 1
    context.close()
    assert not trouble, "\n".join(trouble)
    assert seen > 10


def problems(page: Page, own: str) -> list[str]:
    """What is wrong with the page that a browser shows."""
    page.evaluate("document.querySelectorAll('details').forEach(each => (each.open = true))")
    page.wait_for_timeout(150)
    seen = page.evaluate(LOOK)
    found = [f"handler {each}" for each in seen["handlers"]]
    found += [f"script {each}" for each in seen["scripts"] if not each.startswith(f"{own}/page/")]
    if seen["frames"]:
        found.append("a frame, an object or a base")
    found += [
        f"link {each}"
        for each in seen["links"]
        if each.lower().lstrip().startswith(("javascript:", "data:", "vbscript:"))
    ]
    found += [
        f"invisible {character!r}"
        for character in set(BACKWARDS)
        if not _is_plain(character) and character in seen["text"]
    ]
    html = page.content()
    found += [f"secret {secret}" for secret in SECRETS if secret in html]
    return found


def _is_plain(character: str) -> bool:
    return character.isprintable()
