"""JSON is read as it comes: what cannot be text or a number hides nothing else."""

from typing import Any

import pytest

from ittybatch.ittybit.json_text import NotJson, read_json

NINES = b"9" * 5000


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"a":1,"b":"\xc3\xbc"}', {"a": 1, "b": "ü"}),
        (b'{"a":"cut \\ud83d","b":1}', {"a": "cut ?", "b": 1}),
        (b'{"a":"cut \\ude00","b":1}', {"a": "cut ?", "b": 1}),
        (b'{"\\ud83d":1}', {"?": 1}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\\\\ud83d"}', {"a": "\\ud83d"}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        ('{"a":1}'.encode("utf-16"), {"a": 1}),
        (b'{"a":NaN,"b":Infinity,"c":-Infinity}', {"a": None, "b": None, "c": None}),
        (b'{"a":1e999,"b":-1e999,"c":%s}' % NINES, {"a": None, "b": None, "c": None}),
        (b'{"a":"caf\xe9"}', {"a": "caf\ufffd"}),
        (b'{"a":"two\nlines"}', {"a": "two\nlines"}),
    ],
)
def test_one_bad_character_hides_nothing_else(body: bytes, found: Any) -> None:  # noqa: ANN401
    """Half an emoji, a byte order mark, numbers of no size, bytes of another encoding."""
    assert read_json(body) == found


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"<html>", b'{"a":1', b'{"a":1} x', b"[" * 100_000, b"\xff\xfe\xff"]
)
def test_what_is_not_json_is_said_to_be_none(body: bytes) -> None:
    """Also where it is nested without end."""
    with pytest.raises(NotJson):
        read_json(body)
