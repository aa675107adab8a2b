"""Rows are read fast where nothing is special about them, and exactly where something is."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ittybatch.sources import ManifestSource, Page, read_pages
from ittybatch.sources.records import Records
from ittybatch.sources.rows import Rows

HEADER = b"input,kind,options,profile,etag,size_bytes,metadata.a,notes\ns3://med/first.mov,,,,,,,\n"
CELLS = st.sampled_from(
    [
        "", " ", "s3://med/a.mov", " s3://med/a.mov", "s3://med/a.mov ", "s3://med", "s3://med/a/",
        "s3://bucket--x-s3/a", "https://h/a.mov", "video", "video ", "vidio", '{"width": 1}',
        '"{""width"": 640}"', '"{\n""width"": 640}"', "{}", "web", "Web", '"x"', "12", "1.5",
        '"open', 'a"b', "\u2028", "\x07", "a\rb", "é", "\u00a0", "a" * 2100, ",",
        '"a\ns3://med/b.mov"',
    ]
)  # fmt: skip
LINES = st.lists(CELLS, max_size=9).map(",".join) | st.just(
    's3://med/a.mov,video,"{""width"": 640}",,,12,x,"a\u2028\ns3://med/b.mov"'
)


def pages(path: Path, page_size: int) -> list[Page]:
    return list(read_pages(ManifestSource(uri=str(path)), page_size=page_size))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
@given(
    lines=st.lists(LINES, max_size=12),
    ends=st.sampled_from(["\n", "\r\n"]),
    junk=st.sampled_from([b"", b"\xe9\n", b"s3://med/\xff.mov\r\n"]),
    page_size=st.sampled_from([1, 3, 100]),
)
@example(lines=['"open', "a\rb"], ends="\n", junk=b"", page_size=1)
@example(lines=['s3://med/a.mov,"open', "s3://med/b.mov"], ends="\n", junk=b"", page_size=100)
def test_both_ways_of_reading_come_to_the_same(
    tmp_path: Path, lines: list[str], ends: str, junk: bytes, page_size: int
) -> None:
    """Items, rejects, lines and cursors."""
    path = tmp_path / "list.csv"
    text = "".join(line + ends for line in lines).encode()
    path.write_bytes(HEADER + text + junk + text)
    fast = pages(path, page_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Records, "next_regular", lambda records, _: (records.next_line, [], False))
        patch.setattr(Rows, "_regular_item", lambda *_: None)
        exact = pages(path, page_size)
    assert fast == exact
