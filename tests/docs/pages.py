"""The documentation as its readers meet it: fences, code spans, links and headings."""

import itertools
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ittybatch.settings import CHECKOUT

PAGES = (
    "README.md",
    "CHANGELOG.md",
    "docs/api.md",
    "docs/architecture.md",
    "docs/aws.md",
    "docs/commands.md",
    "docs/compare.md",
    "docs/events.md",
    "docs/guides.md",
    "docs/operations.md",
    "docs/profiles.md",
    "docs/results-kinds.md",
    "docs/sources.md",
    "docs/tutorial.md",
    "docs/uploads.md",
)


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block. `language` and `what` are the two words behind its fence."""

    page: str
    line: int
    language: str
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def _tokens(page: str) -> tuple[Token, ...]:
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    return tuple(MarkdownIt("commonmark").enable("table").parse(text))


def _inline(page: str, kind: str) -> list[Token]:
    return [
        child for token in _tokens(page) for child in token.children or () if child.type == kind
    ]


def fences(*languages: str, what: str | None = None) -> list[Fence]:
    """Every fenced block of all pages in one of these languages."""
    found = []
    for page in PAGES:
        for token in _tokens(page):
            if token.type != "fence" or token.map is None:
                continue
            language, _, purpose = token.info.partition(" ")
            if language in languages and what in {None, purpose}:
                found.append(Fence(page, token.map[0] + 1, language, purpose, token.content))
    return found


def spans(page: str) -> list[str]:
    """Every code span of a page."""
    return [token.content for token in _inline(page, "code_inline")]


def links(page: str) -> list[str]:
    """Every link of a page."""
    return [str(token.attrs["href"]) for token in _inline(page, "link_open")]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make."""
    tokens = _tokens(page.relative_to(CHECKOUT).as_posix())
    titles = [
        after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"
    ]
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}


def first_cells(page: str, heading: str) -> list[str]:
    """The code spans that open the rows of the first table below a heading."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    below = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", below, flags=re.MULTILINE)
