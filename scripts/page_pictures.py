# ruff: noqa: INP001  a folder of programs, not a package
"""Run the demo and take pictures of its page: docs/pictures/*.png.

python scripts/page_pictures.py
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
SIZE = {"width": 1280, "height": 800}
_SETTLED_MS = 2000
# An item of the demo with a picture and a film, and not the file that is broken on purpose.
_FILM = "a:has-text('test-card-720p.mp4')"


def main() -> None:
    """Run, take the pictures, and end the demo."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ittybatch-pictures-") as folder:
        # PostgreSQL does not run as root, and its account must be able to enter.
        Path(folder).chmod(0o755)
        demo = subprocess.Popen(
            [sys.executable, "-m", "ittybatch", "demo", "--keep"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "ITTYBATCH_HOME": str(Path(folder) / "home"), "COLUMNS": "200"},
        )
        try:
            page = _address(demo)
            browser = shutil.which("chromium") or shutil.which("google-chrome")
            with sync_playwright() as playwright:
                launched = playwright.chromium.launch(
                    executable_path=browser, args=["--no-sandbox", "--disable-gpu"]
                )
                for theme in ("light", "dark"):
                    _take(launched, page, theme)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(timeout=60)


def _address(demo: subprocess.Popen[str]) -> str:
    """The page's address, once the demo has done everything."""
    address = ""
    for line in demo.stdout or ():
        found = re.search(r"http://\S+/page/", line)
        address = found[0] if found else address
        if "Ctrl-C" in line and address:
            return address
    raise SystemExit("The demo ended before it could be looked at.")


def _take(browser: Browser, address: str, theme: str) -> None:
    context = browser.new_context(viewport=SIZE, color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(address)
    _save(page, f"batches-{theme}")
    page.locator("main a[href*='/page/batches/']").last.click()
    _save(page, f"batch-{theme}")
    page.goto(f"{address}jobs")
    page.locator("main").locator(_FILM).first.click()
    _save(page, f"item-{theme}")
    context.close()


def _save(page: Page, name: str) -> None:
    # The stream of changes stays open, so the network is never idle.
    page.wait_for_load_state("load")
    page.wait_for_timeout(_SETTLED_MS)
    page.screenshot(path=PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
