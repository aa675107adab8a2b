"""Opening the page in a browser, for commands that are asked to."""

import webbrowser
from typing import Annotated

from cyclopts import Parameter

from ittybatch.cli.output import console

OpenPage = Annotated[
    bool, Parameter(name="--open", negative="", help="Open the page in a browser.")
]


def open_page_in_browser(url: str) -> None:
    """Open an address in the user's browser; say so if there is none."""
    if not webbrowser.open(url):
        console.print("No browser could be opened.", style="dim")
