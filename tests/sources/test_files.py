"""Files as people's programs write them, each with what it comes to.

A further case is a file in `files/` and a `NAME.yaml` beside it:

file: of which file, where that is not NAME itself
source: fields of the source
items: what it yields, empty values left out
rejects: line, field, and the beginning of the reason
filtered: what is left out, by rule
error: a pattern of the error, where the file cannot be read at all
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ittybatch.profiles import Item
from ittybatch.sources import ManifestSource, Page, SourceError, read_pages

FILES = Path(__file__).parent / "files"
CASES = sorted(path.name.removesuffix(".yaml") for path in FILES.glob("*.yaml"))
_FIELDS = (
    "line",
    "uri",
    "fingerprint",
    "size_bytes",
    "kind",
    "options",
    "profile",
    "metadata",
)


def _plain(item: Item) -> dict[str, Any]:
    return {name: value for name in _FIELDS if (value := getattr(item, name))}


def _read(source: ManifestSource, page_size: int) -> list[Page]:
    return list(read_pages(source, page_size=page_size))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("page_size", [1, 1000])
def test_a_file_comes_to_what_stands_beside_it(case: str, page_size: int) -> None:
    """Items, rejects and counts; or an error that names the file and what to do."""
    expected = yaml.safe_load((FILES / f"{case}.yaml").read_text("utf-8"))
    path = FILES / expected.pop("file", case)
    source = ManifestSource.model_validate({"uri": str(path), **expected.pop("source", {})})
    if "error" in expected:
        with pytest.raises(SourceError, match=expected["error"]) as caught:
            _read(source, page_size)
        assert str(path) in str(caught.value)
        assert "Traceback" not in str(caught.value)
        return
    pages = _read(source, page_size)
    assert [_plain(item) for page in pages for item in page.items] == expected["items"]
    rejects = [reject for page in pages for reject in page.rejects]
    wanted = expected.get("rejects", [])
    assert [(each.line, each.field) for each in rejects] == [
        (each["line"], each["field"]) for each in wanted
    ]
    for reject, told in zip(rejects, wanted, strict=True):
        assert reject.reason.startswith(told["reason"])
    filtered: dict[str, int] = {}
    for page in pages:
        for rule, count in page.filtered.items():
            filtered[rule] = filtered.get(rule, 0) + count
    assert filtered == expected.get("filtered", {})


def test_every_file_has_a_case() -> None:
    """A file that nobody reads proves nothing."""
    assert CASES
    read = set(CASES) | {
        yaml.safe_load((FILES / f"{case}.yaml").read_text("utf-8")).get("file") for case in CASES
    }
    files = {path.name for path in FILES.iterdir() if path.suffix not in {".yaml", ".py"}}
    assert files - {"__pycache__"} <= read


@pytest.mark.parametrize("case", CASES)
def test_a_stop_after_any_page_loses_and_repeats_nothing(case: str) -> None:
    """Each page is read by a process that knows the last cursor and nothing else."""
    expected = yaml.safe_load((FILES / f"{case}.yaml").read_text("utf-8"))
    if "error" in expected:
        return
    path = FILES / expected.get("file", case)
    source = ManifestSource.model_validate({"uri": str(path), **expected.get("source", {})})
    found: list[dict[str, Any]] = []
    cursor = None
    while page := next(read_pages(source, cursor=cursor, page_size=1), None):
        found += map(_plain, page.items)
        cursor = page.cursor
    assert found == expected["items"]
