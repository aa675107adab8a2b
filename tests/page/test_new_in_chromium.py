"""Three files dropped on the page become outputs that are seen, with script and without."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from ittybatch_local import LocalStack, databases
from ittybatch_local.ports import HOST
from tests.chromium import chromium
from tests.conftest import OURS
from tests.page.browsing import WIDTHS, overflow, violations, visitor
from tests.sandbox.harness import make_media

MADE_WITHIN_MS = 60_000
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
FILM = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24:duration=2", "-pix_fmt", "yuv420p")
PROFILE = """
renditions:
  - {name: small, kind: video, options: {width: 160, format: mp4}}
  - {name: poster, kind: image, options: {width: 160}}
  - {name: long, kind: video, options: {width: 640}, when: {min_size: 1GB}}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Receiver, sandbox with real ffmpeg, ledger and S3; nothing here needs Prefect."""
    folder = tmp_path_factory.mktemp("new")
    (folder / "profiles").mkdir()
    (folder / "profiles" / "web.yaml").write_text(PROFILE)
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(OURS):
                patch.delenv(name)
        patch.setenv("ITTYBATCH_PROFILES_DIR", str(folder / "profiles"))
        patch.setenv("ITTYBATCH_KIND_COSTS", '{"video": 0.05, "image": 0.001}')
        patch.setenv("PREFECT_API_URL", f"http://{HOST}:9/api")
        # It takes longer to start than everything else together; a few uploads do not need it.
        patch.setattr(databases, "is_installed", lambda: False)
        with LocalStack(folder / "home", server=False, worker=False) as started:
            yield started


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three small films and a text; one film has a name that is markup."""
    folder = tmp_path_factory.mktemp("films")
    names = ("first film.mp4", "second.mp4", "<img src=x onerror=alert(1)>.mp4")
    made = [make_media(folder / name, *FILM) for name in names]
    (folder / "notes.txt").write_text("not a film")
    return [*made, folder / "notes.txt"]


def drop(page: Page, files: list[Path]) -> None:
    """Drop files on the page as a hand does."""
    page.evaluate(
        """() => {
            const input = document.createElement("input");
            input.type = "file"; input.multiple = true; input.id = "carrier"; input.hidden = true;
            document.body.append(input);
        }"""
    )
    page.locator("#carrier").set_input_files(files)
    page.evaluate(
        """() => {
            const carried = new DataTransfer();
            for (const file of document.getElementById("carrier").files) carried.items.add(file);
            const options = {dataTransfer: carried, bubbles: true, cancelable: true};
            for (const name of ["dragenter", "dragover", "drop"])
                document.querySelector(".drop").dispatchEvent(new DragEvent(name, options));
            document.getElementById("carrier").remove();
        }"""
    )


def shoot(page: Page, name: str) -> None:
    """Keep pictures at three widths, light and dark, where somebody asks for them."""
    folder = os.environ.get("SCREENSHOTS")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1200})
        assert overflow(page) <= 0, f"{name} at {width} px"
        if folder:
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=f"{folder}/{name}-{width}-{scheme}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 1200})


def test_three_dropped_files_become_outputs_and_one_is_played(
    browser: Browser, stack: LocalStack, films: list[Path]
) -> None:
    """Nobody reloads anything."""
    with visitor(browser, viewport={"width": 1280, "height": 1200}) as someone:
        page = someone.new_page()
        page.goto(f"{stack.receiver_url}/page/new")
        assert violations(page) == []
        shoot(page, "new")
        drop(page, films)
        quote = page.locator("#confirm-files")
        expect(quote).to_contain_text("4 files, profile web")
        expect(quote).to_contain_text("6 jobs")
        expect(quote).to_contain_text("0.153")
        expect(quote).to_contain_text("Files of type 'text/plain' are not accepted")
        expect(quote).to_contain_text("<img src=x")
        expect(quote.get_by_text("without long (its condition)").first).to_be_visible()
        assert violations(page) == []
        shoot(page, "new-files")
        quote.get_by_role("button", name="Send 3 files, make 6 jobs").click()
        page.wait_for_url("**/page/new/made?jobs=*", timeout=MADE_WITHIN_MS)
        made = page.locator("#made")
        expect(made).to_contain_text("6 of 6 outputs are there", timeout=MADE_WITHIN_MS)
        assert violations(page) == []
        shoot(page, "made")
        page.get_by_role("link", name="first-film").first.click()
        page.wait_for_url("**/page/items/**")
        shoot(page, "item")
        video = page.locator("video").last
        video.evaluate(
            """each => new Promise((done, failed) => {
                each.ontimeupdate = () => each.currentTime > 0.3 && done();
                each.onerror = () => failed(new Error("It cannot be played."));
                each.muted = true;
                each.play();
            })"""
        )
        page.goto(f"{stack.receiver_url}/page/actions")
        expect(page.locator("#actions tbody tr")).to_have_count(3)
        assert violations(page) == []
        shoot(page, "actions")


def test_an_address_and_a_file_are_made_without_script(
    browser: Browser, stack: LocalStack, films: list[Path]
) -> None:
    with visitor(
        browser, viewport={"width": 1280, "height": 1200}, java_script_enabled=False
    ) as someone:
        page = someone.new_page()
        page.goto(f"{stack.receiver_url}/page/new")
        form = page.locator("#drop-files")
        expect(form.locator(".drop")).to_be_hidden()
        form.get_by_label("Type of the file").select_option("video/mp4")
        form.get_by_label("Its name").fill("By hand")
        with page.expect_request("**/page/new/file") as sent:
            form.get_by_role("button", name="Go on: choose one file").click()
        # Where the bucket leads back to. The page's headers must not make the browser hide it.
        assert sent.value.all_headers()["origin"] == stack.receiver_url
        page.get_by_label("File").set_input_files(films[1])
        page.get_by_role("button", name="Send it").click()
        page.wait_for_url("**/page/new/arrived/**")
        expect(page.locator("main")).to_contain_text("By-hand.mp4")
        expect(page.locator("main")).to_contain_text("0.051 in your unit")
        page.get_by_role("button", name="Make 2 jobs").click()
        page.wait_for_url("**/page/items/**")

        page.goto(f"{stack.receiver_url}/page/new")
        address = page.locator("#address")
        address.get_by_label("Address of a file").fill("ftp://example.com/film.mp4")
        address.get_by_role("button").click()
        expect(page.get_by_role("alert")).to_contain_text("is not the URL of a file")
        page.locator("#address").get_by_label("Address of a file").fill("s3://uploads/there.mp4")
        page.locator("#address").get_by_role("button").click()
        expect(page.locator("h1")).to_have_text("What it would make and cost")
        expect(page.locator("main")).to_contain_text("left out: it asks for at least 1.0 GB")
        shoot(page, "quote")
        page.get_by_role("button", name="Make 2 jobs").click()
        page.wait_for_url("**/page/items/**")
