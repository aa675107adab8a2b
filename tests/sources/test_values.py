"""Values as programs write them: what counts as nothing, and numbers of any size."""

from pathlib import Path

import pytest

from tests.sources.manifests import (
    json_lines,
    pages_of,
    parquet_file,
    separated,
    workbook,
)

TITLES = ["input", "kind", "options", "profile", "fingerprint", "size_bytes", "metadata.land"]
FORMATS = {
    "list.csv": separated(","),
    "list.tsv": separated("\t"),
    "list.jsonl": json_lines,
    "list.parquet": parquet_file,
    "list.xlsx": workbook,
}


@pytest.mark.parametrize("name", FORMATS)
def test_na_of_r_is_nothing_but_in_metadata(tmp_path: Path, name: str) -> None:
    """As a fingerprint it would keep a replaced object from ever being made again."""
    rows = [
        ["s3://med/a.mov", *["NA"] * 6],
        ["s3://med/b.mov", "video", "NA", None, "na", None, "Namibia"],
    ]
    (page,) = pages_of(tmp_path / name, FORMATS[name](rows, TITLES))
    assert page.rejects == []
    one, two = page.items
    assert (one.kind, one.options, one.profile, one.fingerprint, one.size_bytes) == (None,) * 5
    assert (two.kind, two.options, two.fingerprint) == ("video", {}, None)
    assert [item.metadata["land"] for item in page.items] == ["NA", "Namibia"]
