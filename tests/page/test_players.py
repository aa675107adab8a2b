"""Real files in a real store, watched in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from tests.chromium import chromium
from tests.page.browsing import WIDTHS, overflow, send, violations, visitor
from tests.page.seen import SECONDS, Scene, item_with, make_files, upload
from tests.receiver.harness import Running, running

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "films-of-this-test"
FILM = f"s3://{BUCKET}/out/film.mp4"
RENDITIONS = [
    ("film", Kind.VIDEO),
    ("sound", Kind.AUDIO),
    ("poster", Kind.IMAGE),
    ("moving", Kind.ANIMATION),
    ("hls", Kind.ADAPTIVE_VIDEO),
    ("gone", Kind.VIDEO),
    ("later", Kind.VIDEO),
    ("broken", Kind.VIDEO),
]
OUTPUTS = {
    "film": "film.mp4",
    "sound": "sound.mp3",
    "poster": "poster.webp",
    "moving": "moving.gif",
    "hls": "hls/main.m3u8",
    "gone": "gone.mp4",
}
AT = "element => element.currentTime"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def bucket(modules_s3: "S3Client", tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("media")
    make_files(folder)
    upload(folder, modules_s3, BUCKET)
    return BUCKET


@pytest.fixture(scope="module")
def ledger(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    path = tmp_path_factory.mktemp("players") / "ledger.db"
    shutil.copy(sqlite_template, path)
    opened = Ledger(create_ledger_engine(f"sqlite:///{path}"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def receiver(ledger: Ledger, bucket: str) -> Iterator[Running]:
    del bucket
    with running(ledger.engine.url.render_as_string(hide_password=False)) as up:
        yield up


@pytest.fixture(scope="module")
def scene(ledger: Ledger, receiver: Running) -> Scene:
    found = item_with(ledger, FILM, RENDITIONS)
    for rendition, key in OUTPUTS.items():
        url = f"s3://{BUCKET}/out/{key}"
        receiver.post(found.made(rendition, url, width=320, height=180, size=1000))
    receiver.post(found.webhook("broken", "failed", error="no video stream"))
    return found


@pytest.fixture
def page(receiver: Running, scene: Scene, browser: Browser) -> Iterator[Page]:
    with visitor(browser, viewport={"width": 1280, "height": 900}) as context:
        opened = context.new_page()
        show(opened, f"{receiver.url}{scene.path}")
        yield opened


def show(page: Page, url: str) -> None:
    """Open a page; its pictures may take longer."""
    page.goto(url, wait_until="domcontentloaded", timeout=60_000)


def play(page: Page, selector: str) -> None:
    """Play a medium until it is at one second."""
    page.locator(selector).scroll_into_view_if_needed()
    page.wait_for_function(
        """selector => {
          const medium = document.querySelector(selector);
          medium.muted = true;
          if (medium.paused && !medium.ended) medium.play().catch(() => {});
          return medium.currentTime > 1;
        }""",
        arg=selector,
        timeout=60_000,
        polling=200,
    )


def test_the_source_and_every_kind_of_output_can_be_seen_and_heard(
    page: Page, scene: Scene
) -> None:
    """Video, sound, picture, animation and HLS, all from a private bucket."""
    for selector in (".source video", medium(scene, "film"), medium(scene, "hls")):
        play(page, selector)
        assert page.locator(selector).evaluate("element => element.videoWidth") == 320
    play(page, medium(scene, "sound", "audio"))
    length = page.locator(medium(scene, "sound", "audio")).evaluate("element => element.duration")
    assert length == pytest.approx(SECONDS, abs=0.3)
    for rendition in ("poster", "moving"):
        picture = page.locator(medium(scene, rendition, "img"))
        picture.scroll_into_view_if_needed()
        page.wait_for_function(
            "selector => document.querySelector(selector).naturalWidth === 320",
            arg=medium(scene, rendition, "img"),
        )
    assert "X-Amz" not in page.content()


def test_hls_js_plays_where_the_browser_does_not(
    receiver: Running, scene: Scene, browser: Browser
) -> None:
    """It is loaded for this page alone, and only by a browser that needs it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(
        "HTMLMediaElement.prototype.canPlayType = type => type.includes('mpegurl') ? '' : 'maybe';"
    )
    page = context.new_page()
    asked: list[str] = []
    violations: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: violations.append(line.text))
    show(page, f"{receiver.url}{scene.path}")
    play(page, medium(scene, "hls"))
    assert any("/hls-" in url for url in asked)
    assert page.locator(medium(scene, "hls")).evaluate("video => video.src").startswith("blob:")
    assert not [line for line in violations if "Content Security Policy" in line]
    context.close()


def test_nothing_is_fetched_before_it_is_seen(page: Page, scene: Scene) -> None:
    """A page of twenty outputs would otherwise fetch gigabytes."""
    far = page.locator(medium(scene, "hls"))
    assert far.get_attribute("preload") == "none"
    assert far.evaluate("video => video.readyState") == 0
    far.scroll_into_view_if_needed()
    expect(far).to_have_attribute("preload", "metadata")


def test_a_film_plays_on_while_the_page_changes(
    page: Page, scene: Scene, receiver: Running
) -> None:
    """A webhook about another output arrives; the player is not touched."""
    play(page, medium(scene, "film"))
    before = page.locator(medium(scene, "film")).element_handle()
    assert before is not None
    page.evaluate("window.restarts = 0")
    before.evaluate(
        "video => ['emptied', 'loadstart', 'seeking', 'pause'].forEach("
        "name => video.addEventListener(name, () => window.restarts++))"
    )
    card = page.locator(f"#job-{scene.job('later')}")
    expect(card).to_contain_text("at Ittybit")
    send(receiver, scene.made("later", FILM, size=5))
    expect(card).to_contain_text("succeeded", timeout=5000)
    expect(card.locator("video")).to_have_count(1)
    assert page.evaluate("window.restarts") == 0
    now = page.locator(medium(scene, "film")).element_handle()
    assert now is not None
    assert page.evaluate("([one, other]) => one === other", [before, now])
    assert now.evaluate(AT) > 1
    assert not now.evaluate("video => video.paused")


def test_what_cannot_be_shown_says_why(page: Page, scene: Scene) -> None:
    """The player's error is followed by what the store says of the object."""
    gone = page.locator(f"#job-{scene.job('gone')}")
    gone.scroll_into_view_if_needed()
    expect(gone.locator(".medium-failed")).to_contain_text("no longer exists", timeout=10_000)
    expect(gone.locator(".address").first).to_contain_text(f"s3://{BUCKET}/out/gone.mp4")


def test_a_webhook_is_shown_on_demand(page: Page, scene: Scene) -> None:
    """And stays, when the page changes around it."""
    card = page.locator(f"#job-{scene.job('film')}")
    card.get_by_text("Timeline").click()
    card.get_by_text("Show the webhook").click()
    body = card.locator("pre.code")
    expect(body).to_contain_text('"id": "task-0"')
    page.evaluate(
        "() => new Promise(done => {"
        " document.addEventListener('htmx:after:settle', done, { once: true });"
        " document.body.dispatchEvent(new CustomEvent('changed')); })"
    )
    expect(body).to_be_visible()
    expect(body).to_contain_text('"id": "task-0"')


def test_everything_can_be_reached_without_script(
    receiver: Running, scene: Scene, browser: Browser
) -> None:
    """Players have their address, and the webhook is a link."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    show(page, f"{receiver.url}{scene.path}")
    card = page.locator(f"#job-{scene.job('film')}")
    assert card.locator("video").get_attribute("src") == f"/page/media/{scene.job('film')}/output"
    card.get_by_text("Timeline").click()
    card.get_by_text("Show the webhook").click()
    card.get_by_role("link", name="Open the webhook").click()
    expect(page.locator("pre.code")).to_contain_text('"id": "task-0"')
    show(page, f"{receiver.url}{scene.path}")
    page.locator(f"#job-{scene.job('gone')}").get_by_role("link", name="Check").click()
    expect(page.locator("main")).to_contain_text("no longer exists")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_anyone_can_use_the_page(
    receiver: Running, scene: Scene, browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    """At every width, by keyboard and by screen reader, in both colour schemes."""
    paths = (scene.path, "/page/held", "/page/held?state=failed", "/page/held/release?state=failed")
    with visitor(browser, color_scheme=scheme) as context:
        page = context.new_page()
        for path in paths:
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                show(page, f"{receiver.url}{path}")
                page.evaluate("document.querySelectorAll('details').forEach(d => (d.open = true))")
                assert overflow(page) == 0, (path, width)
            assert violations(page) == [], path


def medium(scene: Scene, rendition: str, element: str = "video") -> str:
    """Selector of the element that shows an output."""
    return f"#job-{scene.job(rendition)} .medium {element}"
