"""Whatever keys, rows, metadata and errors hold: an artifact shows it, and does nothing of it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ittybatch.tasks.markdown import code, escaped, link, table

# As permissive as a page could be: HTML is passed on, and tables are read.
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
HOSTILE = st.sampled_from(
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "![x](https://evil.test/pixel)",
        "<https://evil.test>",
        "[x]: https://evil.test",
        "`` ` ``",
        "| a | b |\n|---|---|\n| c | d |",
        "&lt;script&gt;",
        "\\",
        "\\\\|",
        "a\u2028b\u2029c",
        "\x1b[2J\x00",
        "# x",
        "- x",
        "1. x",
        "    x",
        "```\nx",
        "---",
        "~~x~~ **x** __x__",
    ]
)
TEXT = st.lists(HOSTILE | st.text(max_size=20), max_size=4).map("".join)
ALLOWED = {"inline", "paragraph_open", "paragraph_close", "text", "text_special", "softbreak"}


def kinds(markdown: str) -> set[str]:
    """What a page would make of Markdown."""
    return {token.type for token in _all(MARKDOWN.parse(markdown))}


def _all(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *(token.children or []))]


@given(TEXT)
def test_escaped_text_is_text(text: str) -> None:
    """No link, no picture, no HTML, no emphasis, no second line."""
    assert kinds(f"Item: {escaped(text)}.") <= ALLOWED
    assert "\n" not in escaped(text)


@given(TEXT)
def test_text_to_be_copied_is_one_piece_of_code(text: str) -> None:
    """Nothing of it stands outside its quotes."""
    assert kinds(f"Run {code(text)} now.") <= ALLOWED | {"code_inline"}


@given(TEXT, TEXT)
def test_a_tables_cells_stay_in_their_row(first: str, second: str) -> None:
    """As many rows and cells as were given, whatever is in them."""
    lines = table(("A", "B>"), [(escaped(first), code(second)), (link(first), escaped(second))])
    tokens = _all(MARKDOWN.parse("\n".join(["Before", *lines])))
    assert sum(token.type == "tr_open" for token in tokens) == 3
    assert sum(token.type == "td_open" for token in tokens) == 4
    assert not {"html_inline", "html_block", "image"} & {token.type for token in tokens}


@given(st.sampled_from(["https://cdn.test/", "http://a/", "javascript:", "data:", ""]), TEXT)
def test_an_address_is_one_link_to_the_web_or_none(begin: str, rest: str) -> None:
    """With the host that it had, and no title or picture in it."""
    tokens = _all(MARKDOWN.parse(f"See {link(begin + rest)} there"))
    links = [token for token in tokens if token.type == "link_open"]
    assert len(links) <= 1
    for token in links:
        assert re.match(r"https?://", str(token.attrs["href"]))
    assert {token.type for token in tokens} <= ALLOWED | {"link_open", "link_close"}


@pytest.mark.parametrize("url", ["https://[", "https://\x00", "https://a\nb", "//a"])
def test_an_address_that_is_none_stops_no_report(url: str) -> None:
    """It is shown as text."""
    assert "](" not in link(url)
