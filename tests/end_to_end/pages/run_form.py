"""The form that starts a run of a deployment."""

import json
import os
import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

_PROPERTY = ".schema-form-property"
_FRAMES = """async () => {
    for (let i = 0; i < 5; i++) await new Promise(done => requestAnimationFrame(done));
}"""
_LABEL = ".schema-form-property__label"


class RunForm:
    """Fills in the run form of a deployment.

    Args:
        page: The page to use.
        prefect_url: Where Prefect's pages are.
        deployment: The deployment's name.
    """

    def __init__(self, page: Page, prefect_url: str, deployment: str) -> None:
        self._page = page
        page.goto(f"{prefect_url}/deployments")
        page.get_by_role("link", name=deployment, exact=True).click()
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Custom run").click()
        expect(page.get_by_text("Validate parameters")).to_be_visible()

    def labels(self) -> list[str]:
        """The titles of all fields that are shown."""
        return self._page.locator(_LABEL).all_inner_texts()

    def choose(self, tab: str) -> None:
        """Choose a tab, and wait until it has filled in what cannot be changed."""
        self._page.get_by_text(tab, exact=True).click()
        for box in self._page.locator(f"{_PROPERTY} fieldset[disabled] textarea").all():
            expect(box).not_to_have_value("")
        self._settle()

    def fill(self, title: str, text: str) -> None:
        """Write into a field."""
        box = self._field(title).locator("textarea")
        box.fill(text)
        self._settle()
        expect(box).to_have_value(text)

    def count(self, title: str, number: int) -> None:
        """Write into a field for numbers."""
        box = self._field(title).locator("input")
        box.fill(str(number))
        self._settle()
        expect(box).to_have_value(str(number))

    def value(self, title: str) -> str:
        """What a field holds."""
        return self._field(title).locator("textarea").input_value()

    def toggle(self, title: str) -> None:
        """Switch a field on, or off."""
        switch = self._field(title).get_by_role("switch")
        was = switch.get_attribute("aria-checked")
        switch.click()
        expect(switch).not_to_have_attribute("aria-checked", str(was))

    def pick(self, title: str, option: str) -> None:
        """Choose from a list."""
        # A click opens the list and closes it again; an arrow key only opens it.
        self._field(title).locator(".p-select-button__control").press("ArrowDown")
        self._page.get_by_role("option", name=option).click()
        self._settle()

    def refusal(self) -> str:
        """Submit what Prefect's API refuses; gives the message that the page shows."""
        self._page.get_by_role("button", name="Submit").click()
        message = self._page.get_by_text("Error creating flow run").first
        expect(message).to_be_visible()
        return message.inner_text()

    def screenshot(self, name: str) -> None:
        """Keep a picture of the page where SCREENSHOTS names a folder."""
        if folder := os.environ.get("SCREENSHOTS"):
            self._page.screenshot(path=f"{folder}/{name}.png", full_page=True)

    def submit(self) -> tuple[str, dict[str, Any]]:
        """Start the run.

        Returns:
            The id of the flow run, and the parameters that the form sent.
        """
        with self._page.expect_response(re.compile("/create_flow_run$")) as found:
            self._page.get_by_role("button", name="Submit").click()
        answer = found.value
        assert answer.ok, f"{answer.status} {answer.text()[:500]}"
        sent: dict[str, Any] = json.loads(answer.request.post_data or "")
        return str(answer.json()["id"]), sent["parameters"]

    def _settle(self) -> None:
        """Let the form take over what was written: it does so in steps, a few frames later."""
        self._page.evaluate(_FRAMES)

    def _field(self, title: str) -> Locator:
        label = self._page.locator(
            _LABEL, has_text=re.compile(rf"^{re.escape(title)}( \(Optional\))?$")
        )
        # Fields lie in fields: the innermost that has the label is the one.
        return self._page.locator(_PROPERTY).filter(has=label).last
