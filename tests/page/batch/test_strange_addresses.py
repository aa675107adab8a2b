"""Addresses that no page has made: whatever a filter is, the answer is none of the server's errors.

Postgres refuses a NUL in text, and a huge text costs a search much.
"""

from urllib.parse import urlencode

import pytest

from ittybatch.ledger import Ledger
from tests.page.steering import Page, failing

# What each page reads from its address.
READ = {
    "/page/": ("q", "state", "since", "until", "idle", "after", "window", "done"),
    "/page/regions/batches": ("after", "q"),
    "/page/jobs": ("batch", "state", "rendition", "kind", "q", "metadata", "after", "before"),
    "/page/held": ("batch", "input", "state", "alike", "before", "job", "after"),
    "/page/held/release": ("batch", "input", "state", "alike", "before", "job"),
    "/page/actions": ("batch", "actor", "via", "before"),
    "/page/new/made": ("jobs", "all"),
    "/page/webhook": ("task", "digest"),
    "/page/batches/{batch}/chunks": ("state", "after"),
    "/page/batches/{batch}/rejects": ("after", "state"),
    "/page/batches/{batch}/retry": ("state", "alike", "before", "expected"),
    "/page/items/1/0/retry": ("job",),
}
STRANGE = {"NUL": "a\x00b", "long": "x" * 20_000, "surrogate": "\ud83d", "huge number": "9" * 40}


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE)
def test_no_filter_is_an_error_of_the_server(ledger: Ledger, page: Page, value: str) -> None:
    """It finds nothing, or is refused."""
    batch = failing(ledger, 3)
    for path, names in READ.items():
        for name in names:
            query = urlencode({name: value}, errors="surrogatepass")
            answer = page.request("GET", f"{path.format(batch=batch)}?{query}")
            assert answer.status_code < 500, f"{path} {name}"
    for name in ("x\x00", "x" * 5000):
        path = urlencode({"": name})[1:]
        for of in ("batches/{}", "items/{}/0", "jobs/{}", "media/{}/source", "new/started/{}"):
            assert page.request("GET", f"/page/{of.format(path)}").status_code == 404
