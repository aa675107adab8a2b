"""The automations file, with its example switched on."""

import re

from ittybatch.settings import CHECKOUT

FILE = CHECKOUT / "deployments" / "automations.yaml"


def with_example() -> str:
    """The file's text once somebody has removed the marks of the example."""
    return with_examples("ittybatch-alert")


def with_examples(*names: str) -> str:
    """The file's text with the marks of these examples removed."""
    paragraphs = FILE.read_text().split("\n\n")
    for number, text in enumerate(paragraphs):
        for name in names:
            kept, mark, example = text.partition(f"  # - name: {name}\n")
            if mark:
                paragraphs[number] = kept + re.sub(r"(?m)^  # ", "  ", mark + example)
    return "\n\n".join(paragraphs)
