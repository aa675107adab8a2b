"""What an item is called, whatever its address is."""

import pytest

from ittybatch.profiles import Item


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:hunter2@h.test/a.mov?sig=1", "https://h.test/a.mov?..."),
        ("https://[::1", "https://[::1"),
        ("https://me:hunter2@[::1/a.mov?sig=1", "https://[::1/a.mov?..."),
        ("https://me:hunter2@exa\u2100mple.com/a.mov?sig=1", "https://exa\u2100mple.com/a.mov?..."),
        ("ftp://[v1.aaa", "ftp://[v1.aaa"),
        ("ftp://me:hunter2@[v1.aaa?sig=1", "ftp://[v1.aaa?..."),
    ],
)
def test_an_address_is_shown_without_its_secrets_even_if_it_cannot_be_parsed(
    url: str, shown: str
) -> None:
    """Messages name addresses that are refused for just that."""
    assert Item(url).shown == shown


def test_an_address_that_cannot_be_parsed_has_no_parts() -> None:
    """Nobody fetches it, but a report may list it."""
    item = Item("https://[::1/a.mov")
    assert (item.bucket, item.key, item.suffix) == ("", "", "")
