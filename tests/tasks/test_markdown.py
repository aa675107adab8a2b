"""Artifacts show what a key, a row or an error holds, and never do what it says."""

import pytest

from ittybatch.tasks.markdown import code, escaped, link, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clip_01*final*.mp4", "clip\\_01\\*final\\*.mp4"),
        ("[here](https://evil.test)", "\\[here\\](https://evil.test)"),
        ("<img src=x>", "\\<img src=x\\>"),
        ("a|b\nc", "a\\|b c"),
        (404, "404"),
    ],
)
def test_markup_is_shown_as_it_is(text: object, shown: str) -> None:
    """On one line, so that it cannot end a table's row either."""
    assert escaped(text) == shown


def test_what_is_to_be_copied_cannot_end_its_own_quotes() -> None:
    """A path may hold anything."""
    assert code("/tmp/`a`|b") == "`/tmp/'a'\\|b`"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "https://cdn.test/a/web.mp4?sig=a%2Fb",
            "[web.mp4](<https://cdn.test/a/web.mp4?sig=a%2Fb>)",
        ),
        ("https://cdn.test/my%20film.mp4", "[my film.mp4](<https://cdn.test/my%20film.mp4>)"),
        ("https://cdn.test/a>b", "[a\\>b](<https://cdn.test/a%3Eb>)"),
        ("https://cdn.test/", "[cdn.test](<https://cdn.test/>)"),
        ("s3://out/web.mp4", "s3://out/web.mp4"),
        ("javascript:alert(1)", "javascript:alert(1)"),
    ],
)
def test_only_web_addresses_become_links(url: str, shown: str) -> None:
    """Named for their file, and unable to end the link early."""
    assert link(url) == shown


def test_a_table_aligns_numbers_to_the_right() -> None:
    """A title that ends in `>` marks them."""
    assert table(("What", "Count>"), [("jobs", "3")]) == [
        "",
        "| What | Count |",
        "|---|---:|",
        "| jobs | 3 |",
    ]
