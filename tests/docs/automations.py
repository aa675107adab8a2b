"""The automations file, with its example switched on."""

import re

from ittybatch.settings import CHECKOUT

FILE = CHECKOUT / "deployments" / "automations.yaml"


def with_example() -> str:
    """The file's text once somebody has removed the marks of the example."""
    text = FILE.read_text()
    kept, mark, example = text.partition("  # - name: ittybatch-alert")
    return kept + re.sub(r"(?m)^  # ", "  ", mark + example)
