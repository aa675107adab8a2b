"""Uploads that take longer than a form is valid, and files that were chosen twice."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cryptography import fernet
from playwright.sync_api import Browser, Page, Route, expect

from tests.chromium import chromium
from tests.page.browsing import visitor
from tests.page.new_jobs import Viewer, sealed, serving
from tests.receiver.harness import SECRET
from tests.sandbox import harness as sandboxes

FILM = b"not really a film"
HOUR_S = 3600


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def viewer(sqlite_url: str, tmp_path: Path, bucket: str) -> Iterator[Viewer]:
    """Somebody at a page whose intake.yaml declares the bucket."""
    declared = tmp_path / "intake.yaml"
    declared.write_text(f"uploads:\n  bucket: {bucket}\n  profile: web\n")
    with (
        sandboxes.running(instant=True, webhook_secret=SECRET) as sandbox,
        serving(sqlite_url, tmp_path, sandbox, intake_file=declared) as up,
    ):
        yield Viewer(up)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes what was sealed until now older by some hours."""
    hours = [0.0]

    def now() -> float:
        return time.time() + hours[0] * HOUR_S

    monkeypatch.setattr(fernet, "time", SimpleNamespace(time=now))
    return lambda more: hours.append(hours.pop() + more)


def _put(begun: dict[str, Any]) -> None:
    [part] = begun["parts"]
    put = httpx.put(part["url"], content=FILM, headers=begun["headers"], trust_env=False)
    assert put.status_code == 200


def test_an_upload_is_completed_for_as_long_as_its_id_is_valid(
    viewer: Viewer, later: Callable[[float], None]
) -> None:
    """Twenty large films take a night. Each one that begins makes the form valid anew."""
    films = {
        "make": "profile:web",
        "name": ["a.mov", "b.mov"],
        "type": ["video/quicktime"] * 2,
        "size": [str(len(FILM))] * 2,
    }
    form = {"sealed": sealed(viewer.post("/page/new/files", films))}
    later(23)
    first = viewer.post("/page/new/uploads/begin", {**form, "number": "0"}).json()
    _put(first)
    later(23)
    fresh = {"id": first["id"], "sealed": first["sealed"], "number": "0"}
    made = viewer.post("/page/new/uploads/complete", fresh)
    assert made.status_code == 202, made.text
    second = viewer.post("/page/new/uploads/begin", {"sealed": first["sealed"], "number": "1"})
    assert second.status_code == 201, second.text
    late = viewer.post("/page/new/uploads/begin", {**form, "number": "1"})
    assert late.status_code == 410
    assert "older than 24 hours" in late.json()["error"]


def test_a_file_sent_by_the_plain_form_may_take_as_long(
    viewer: Viewer, later: Callable[[float], None]
) -> None:
    """The answer says whether the file is there, and not that the form is too old."""
    page = viewer.post("/page/new/file", {"make": "profile:web", "content_type": "video/mp4"})
    back = page.text.partition('name="success_action_redirect" value="')[2].partition('"')[0]
    later(24)
    assert viewer.get(back).status_code == 404
    later(2)
    assert viewer.get(back).status_code == 410


def test_an_address_is_confirmed_within_six_hours(
    viewer: Viewer, later: Callable[[float], None]
) -> None:
    """A price that was seen yesterday is looked at again."""
    form = {"sealed": sealed(viewer.preview())}
    later(7)
    assert "older than 6 hours" in viewer.post("/page/new/take", form).text


def _choose(page: Page, *files: Path) -> None:
    page.locator("#file-input").set_input_files(list(files))


def _film(folder: Path, name: str, content: bytes) -> Path:
    film = folder / name
    film.write_bytes(content)
    return film


def test_the_script_completes_what_took_longer_than_the_form_is_valid(
    browser: Browser, viewer: Viewer, tmp_path: Path, later: Callable[[float], None]
) -> None:
    with visitor(browser) as someone:
        page = someone.new_page()

        def take_long(route: Route) -> None:
            later(23)
            route.continue_()

        page.route("**/page/new/uploads/begin", take_long)
        page.route("**/page/new/uploads/complete", take_long)
        page.goto(f"{viewer.up.url}/page/new")
        _choose(page, _film(tmp_path, "long.mp4", FILM))
        page.get_by_role("button", name="Send 1 file").click()
        page.wait_for_url("**/page/items/**")


def test_an_upload_that_has_expired_or_was_given_up_is_begun_again_or_removed(
    browser: Browser, viewer: Viewer, tmp_path: Path
) -> None:
    """Another try begins it anew. One that is given up while it begins is aborted."""
    calls: list[str] = []
    with visitor(browser) as someone:
        page = someone.new_page()
        page.on("request", lambda request: calls.append(request.url.rpartition("/")[2]))
        gone = {"error": "The upload has expired.", "remedy": "Try again."}
        page.route(
            "**/uploads/complete", lambda route: route.fulfill(status=410, json=gone), times=1
        )
        page.goto(f"{viewer.up.url}/page/new")
        _choose(page, _film(tmp_path, "old.mp4", FILM))
        page.get_by_role("button", name="Send 1 file").click()
        expect(page.locator("#confirm-files")).to_contain_text("The upload has expired.")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_url("**/page/items/**")
        assert calls.count("begin") == calls.count("complete") == 2

        begins: list[Route] = []

        def hold(route: Route) -> None:
            begins.append(route)

        page.route("**/uploads/begin", hold)
        page.goto(f"{viewer.up.url}/page/new")
        _choose(page, _film(tmp_path, "new.mp4", FILM))
        with page.expect_request("**/uploads/begin"):
            page.get_by_role("button", name="Send 1 file").click()
        page.get_by_role("button", name="Give up").click()
        with page.expect_request("**/uploads/abort"):
            begins[0].continue_()


def test_an_answer_about_files_that_were_replaced_is_dropped(
    browser: Browser, viewer: Viewer, tmp_path: Path
) -> None:
    """Else the page would show one film, and send the beginning of another under its name."""
    held: list[Route] = []
    announced: list[str] = []
    with visitor(browser) as someone:
        page = someone.new_page()

        def slow_first(route: Route) -> None:
            announced.append(route.request.post_data or "")
            if len(announced) == 1:
                held.append(route)
            else:
                route.continue_()

        page.route("**/page/new/files", slow_first)
        page.goto(f"{viewer.up.url}/page/new")
        _choose(page, _film(tmp_path, "first.mp4", b"1"), _film(tmp_path, "more.mp4", b"2"))
        _choose(page, _film(tmp_path, "second.mp4", FILM))
        quote = page.locator("#confirm-files")
        expect(quote).to_contain_text("second.mp4")
        held[0].continue_()
        page.wait_for_timeout(500)
        expect(quote).to_contain_text("second.mp4")
        expect(quote).not_to_contain_text("first.mp4")
        with page.expect_request(lambda request: request.method == "PUT") as sent:
            page.get_by_role("button", name="Send 1 file").click()
        assert sent.value.headers["content-type"] == "video/mp4"
        assert "second.mp4" in sent.value.url
        page.wait_for_url("**/page/items/**")


def test_what_is_given_up_while_it_is_looked_at_does_not_come_back(
    browser: Browser, viewer: Viewer, tmp_path: Path
) -> None:
    """Nor can the quote that is shown be sent while a newer one is on its way."""
    held: list[Route] = []
    with visitor(browser) as someone:
        page = someone.new_page()
        page.goto(f"{viewer.up.url}/page/new")
        _choose(page, _film(tmp_path, "first.mp4", FILM))
        quote = page.locator("#confirm-files")
        expect(quote).to_contain_text("first.mp4")

        def hold(route: Route) -> None:
            held.append(route)

        page.route("**/page/new/files", hold)
        _choose(page, _film(tmp_path, "second.mp4", FILM))
        expect(quote.get_by_role("button", name="Send 1 file")).to_be_disabled()
        quote.get_by_role("button", name="Give up").click()
        expect(quote).to_have_count(0)
        held[0].continue_()
        page.wait_for_timeout(500)
        expect(quote).to_have_count(0)
        expect(page.locator("#files-quote")).to_be_empty()
