"""The page's static files: exact names, caching, and the files of others unchanged."""

import hashlib
import tomllib
from importlib import resources

import pytest

from ittybatch.page.static_files import static_files, static_url
from tests.receiver.harness import Running, running

STATIC = resources.files("ittybatch.page").joinpath("static")


def test_files_of_others_are_what_they_released() -> None:
    """Each with its version, its licence and its digest; each minified file is one of them."""
    vendored = tomllib.loads(STATIC.joinpath("vendored.toml").read_text())["file"]
    for file in vendored:
        content = STATIC.joinpath(file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], file["name"]
        assert file["version"] in file["name"]
        assert file["licence"] in {"0BSD", "Apache-2.0", "MIT"}
        assert len(STATIC.joinpath(file["licence_file"]).read_text()) > 500
    minified = {name for name in static_files() if ".min." in name}
    assert minified == {file["name"] for file in vendored}


def test_a_file_is_kept_for_good_by_its_digest(sqlite_url: str) -> None:
    """Without the digest it is asked for again, and not sent again."""
    with running(sqlite_url) as up:
        address = static_url("page.css")
        first = up.get(address)
        assert first.status_code == 200
        assert "immutable" in first.headers["cache-control"]
        assert first.headers["content-type"].startswith("text/css")
        plain = up.get("/page/static/page.css")
        assert plain.headers["cache-control"] == "no-cache"
        again = up.get("/page/static/page.css", {"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        _refuses_others(up)


def _refuses_others(up: Running) -> None:
    for name in ("nothing.js", "vendored.toml", "..%2fapp.py", "%2e%2e/app.py", "../app.py"):
        assert up.get(f"/page/static/{name}").status_code == 404, name


@pytest.mark.parametrize("name", ["live.js", "stream.js"])
def test_own_scripts_evaluate_nothing(name: str) -> None:
    """The content security policy forbids it, and no text becomes markup."""
    script = static_files()[name].content.decode()
    for part in ("eval(", "Function(", "innerHTML", "insertAdjacentHTML", "document.write"):
        assert part not in script
