"""The page: what an operator wants to see first, and nothing that a key or an error does."""

import io
import os
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from ittybatch.engine.reporting import report_output, write_report
from ittybatch.engine.reports import page as page_module
from ittybatch.engine.reports.forms import ReportFormat
from ittybatch.engine.reports.page import ENVIRONMENT, is_web_address
from ittybatch.engine.reports.tally import Tally
from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.queries import batch_status
from ittybatch.ledger.settlement import settle
from tests.engine.reports import mixed_batch, output, settled_batch, succeeded, written
from tests.ledger import library

HOSTILE = [
    "<script>document.title='owned'</script>.jpg",
    '"><img src=x onerror=document.title="owned">.jpg',
    "'onmouseover='document.title=1'.jpg",
    "</style></title><h1>a\u202egpj.exe",
    "&lt;b&gt;.jpg",
]


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """One database is enough where the ledger has no part in it."""
    opened = Ledger(create_ledger_engine(sqlite_url))
    yield opened
    opened.close()


def page_of(ledger: Ledger, batch: str) -> str:
    return written(ledger, batch, ReportFormat.HTML).decode()


def pictures(ledger: Ledger, *urls: str) -> str:
    """A batch of jobs that made a picture each."""
    outputs = {f"{number}.jpg": output(url, "webp") for number, url in enumerate(urls)}
    return settled_batch(ledger, outputs, kind=Kind.IMAGE)


def test_it_tells_what_came_of_the_batch(ledger: Ledger) -> None:
    """Counts, times, sizes saved and failures by reason."""
    page = page_of(ledger, mixed_batch(ledger))
    assert "Failures by reason" in page
    assert "HYPERLINK" in page
    assert "100 Bytes" in page  # the input
    assert "900% larger (900 Bytes)" in page
    assert "a.mov" in page
    assert "ittybatch retry" in page


def test_it_shows_some_of_many_pictures_and_says_of_how_many(ledger: Ledger) -> None:
    """As thumbnails that are loaded when they come into sight."""
    page = page_of(ledger, pictures(ledger, *(f"https://cdn.test/{n}.webp" for n in range(70))))
    assert page.count("<img ") == page.count('loading="lazy"') == 60
    assert "Pictures: the first 60 of 70" in page


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "//evil.test/a",
        "https:",
        "https://a b",
        "https://[",
        " https://a",
        "",
        None,
    ],
)
def test_only_web_addresses_become_links(url: str | None) -> None:
    """Anything else is text."""
    assert not is_web_address(url)


def test_every_output_is_linked_up_to_a_limit(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A larger batch says how many there are, and which command lists all of them."""
    monkeypatch.setattr(page_module, "MOST_OUTPUTS", 20)
    urls = [f"https://cdn.test/{n}.mp4" for n in range(22)]
    outputs = {f"{number}.mov": output(url) for number, url in enumerate(urls)}
    outputs["1.mov"] = output("s3://out/1.mp4")
    outputs["2.mov"] = output("javascript:alert(1)")
    page = page_of(ledger, batch := settled_batch(ledger, outputs))
    assert page.count('<a href="https://cdn.test/') == 18
    assert "Outputs: the first 20 of 22" in page
    assert f"ittybatch report {batch} --format csv" in page
    assert "s3://out/1.mp4" in page
    assert 'href="javascript' not in page


def test_it_says_when_the_batch_started_and_ended(ledger: Ledger) -> None:
    """A batch that still runs has no end."""
    batch = mixed_batch(ledger)
    status = ledger.read(batch_status, batch)
    started = f"Started {status.created_at:%Y-%m-%d %H:%M:%S} UTC"
    assert f"{started}, has not ended" in page_of(ledger, batch)
    stream = io.BytesIO()
    ended_at = datetime(2026, 11, 27, 5, 6, 7, tzinfo=UTC)
    page_module.PageReport(stream, replace(status, ended_at=ended_at), []).end(Tally())
    assert f"{started}, ended 2026-11-27 05:06:07 UTC" in stream.getvalue().decode()


def test_no_picture_is_taken_from_elsewhere_than_the_web(ledger: Ledger) -> None:
    """Nor is there an image without an address."""
    page = page_of(ledger, pictures(ledger, "javascript:alert(1)", "data:image/png;base64,AAAA"))
    assert "<img" not in page
    assert '="javascript:' not in page


def test_an_input_that_is_signed_keeps_its_signature(ledger: Ledger) -> None:
    """A page is passed on; what opens the input is not."""
    job = library.job("x", input="https://me:pw@cdn.test/in.mov?sig=s3cr3t")
    chunk, _ = library.submitted(ledger, job)
    ledger.write(settle, [library.failed("task-0", "invalid_input", "no such codec")])
    page = page_of(ledger, library.place(ledger, chunk).batch_id)
    assert "in.mov" in page
    assert not [secret for secret in ("s3cr3t", "me:pw") if secret in page]


@given(st.text() | st.sampled_from(HOSTILE))
def test_text_is_never_markup(text: str) -> None:
    """Nor does it hold what cannot be seen, such as a sign that turns the text around."""
    found = ENVIRONMENT.from_string("{{ text }}").render(text=text)
    assert not re.search(r"[<>\"']", found)
    assert not re.search(r"&(?!(amp|lt|gt|#34|#39);)", found)
    assert found.isprintable()


@given(st.text())
def test_an_address_cannot_end_its_attribute(tail: str) -> None:
    """Whatever follows the host."""
    url = f"https://cdn.test/{tail}"
    if is_web_address(url):
        assert not re.search(r"[<>\"'\s]", ENVIRONMENT.from_string("{{ url }}").render(url=url))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium; a machine that tests every change has to have one."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("There is no Chromium: `apt-get install chromium`.")
        pytest.skip("There is no Chromium: `apt-get install chromium`.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A web server with two pictures, in the place of Ittybit's."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name, size in (("wide", (320, 180)), ("high", (180, 320))):
        Image.linear_gradient("L").resize(size).save(folder / f"{name}.webp")

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_in_a_browser_it_shows_pictures_and_runs_nothing(
    ledger: Ledger, tmp_path: Path, site: str, browser: Browser
) -> None:
    """Whatever items and errors are called; on a phone it is no wider than the screen."""
    names = [*HOSTILE, "plain.jpg", "long/" * 30 + "name.jpg"]
    chunk, _ = library.submitted(
        ledger, *(library.job(name, kind=Kind.IMAGE, rendition="thumb") for name in names)
    )
    made = [
        replace(succeeded(f"task-{number}", output(f"{site}/{name}.webp", "webp")))
        for number, name in enumerate(["wide", "high", "wide", "wide", "high", "wide"])
    ]
    failure = library.failed("task-6", "invalid_input", "".join(HOSTILE))
    ledger.write(settle, [*made, failure])
    batch = library.place(ledger, chunk).batch_id
    place = tmp_path / "report.html"
    write_report(ledger, batch, [report_output(ledger, batch, ReportFormat.HTML, str(place))])

    context = browser.new_context(viewport={"width": 1100, "height": 1500})
    page = context.new_page()
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(place.as_uri())
    page.wait_for_load_state("networkidle")
    widths = page.eval_on_selector_all("img", "all => all.map(each => each.naturalWidth)")
    assert widths == [320, 180, 320, 320, 180, 320]
    assert page.title() == "Batch test: running"
    assert page.locator("script, iframe, h1 >> nth=1").count() == 0
    for name in HOSTILE[:3]:
        assert page.get_by_text(name, exact=False).count() >= 1, name
    assert trouble == []
    assert poor_contrasts(page) == []
    page.emulate_media(color_scheme="dark")
    assert poor_contrasts(page) == []
    if shots := os.environ.get("SCREENSHOTS"):
        for scheme in ("light", "dark"):
            for width in (1280, 390):
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": 800})
                page.screenshot(path=f"{shots}/report-{scheme}-{width}.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert (
        page.evaluate(
            "Math.min(...[...document.querySelectorAll('td')].map(cell => cell.offsetWidth || 999))"
        )
        > 200
    )
    context.close()


def poor_contrasts(page: Page) -> list[str]:
    """Texts of the page whose contrast with the page's background is below 4.5.

    By https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio; no element has a background of its own.
    """
    found: list[str] = page.evaluate(
        """() => {
          const light = colour => {
            const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(each => each / 255)
              .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const page = light(getComputedStyle(document.body).backgroundColor);
          const ratio = each => {
            const text = light(getComputedStyle(each).color);
            return (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
          };
          return [...document.querySelectorAll("body *")]
            .filter(each => each.textContent.trim() && ratio(each) < 4.5)
            .map(each => each.textContent.trim());
        }"""
    )
    return found
