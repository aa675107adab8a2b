"""Every link of the documentation leads somewhere."""

import pytest

from ittybatch.settings import CHECKOUT
from tests.docs.pages import PAGES, anchors, links


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    """To a file of the repository and a heading in it, or to the web by https."""
    for link in links(page):
        target, _, anchor = link.partition("#")
        if "://" in target:
            assert target.startswith("https://"), link
            continue
        path = (CHECKOUT / page).parent / target if target else CHECKOUT / page
        assert path.resolve().is_file(), link
        if anchor:
            assert anchor in anchors(path.resolve()), link
