"""Posted bodies are what JavaScript writes, because some receivers sign what they have parsed."""

import math
import random
import struct
import subprocess

import orjson
from playwright._impl._driver import compute_driver_executable

from ittybatch.sinks.payload import body_of
from tests.sinks.results import succeeded

_ECHO = """
const lines = require("fs").readFileSync(0, "utf8").split("\\n");
for (const line of lines) console.log(JSON.stringify(JSON.parse(line)));
"""
_EDGES = [
    *(5e-6, 1e-6, 9.999999999999999e-7, 1e-7, 1.5e-7, 9.99e-6, 1e-5, 1.25e-5, 1e-4, 5e-324, -0.0),
    *(2.0**53, 2.0**53 + 2, 1e16, 123456789012345678.0, 1e20, 1.5e20, 1e21, 1.5e21, 1e22, 1e300),
    *(999999999999999900000.0, 1.7976931348623157e308, 0.1, 100.0, 1 / 3, 1e15 + 0.5),
]


def test_node_writes_the_same_bytes() -> None:
    """Numbers of every size, keys of every kind, and every character that is escaped."""
    chosen = random.Random(7)
    bits = (chosen.getrandbits(64) for _ in range(3000))
    anything = (struct.unpack("d", each.to_bytes(8, "little"))[0] for each in bits)
    near = (chosen.uniform(1, 10) * 10.0 ** chosen.randint(-9, 24) for _ in range(3000))
    floats = [*filter(math.isfinite, anything), *near, *_EDGES]
    keys = ["b", "10", "2", "01", "-1", "1.5", "4294967294", "4294967295", "9" * 15, "²", ""]
    given = [
        {"numbers": floats, "negative": [-each for each in floats]},
        {key: place for place, key in enumerate(keys)},
        {"text": "".join(map(chr, [*range(1, 0x2100), 0xFEFF, 0xFFFD, 0x1F600]))},
        {"integers": [0, -1, 2**53, -(2**53)], "nested": [{"2": [1.0], "1": None}, True]},
    ]
    bodies = [body_of(succeeded(metadata=each), "flat") for each in given]
    node, _ = compute_driver_executable()
    done = subprocess.run(
        [node, "-e", _ECHO], input=b"\n".join(bodies), capture_output=True, timeout=60, check=True
    )
    assert done.stdout.split(b"\n")[:-1] == bodies


def test_a_key_of_thousands_of_digits_is_no_index() -> None:
    """Python refuses to read such a number, and the neighbours would be posted twice."""
    metadata = {"9" * 5000: 1, "0": 2}
    written = orjson.loads(body_of(succeeded(metadata=metadata), "flat"))["metadata"]
    assert list(written) == ["0", "9" * 5000]


def test_what_is_no_number_in_json_is_null() -> None:
    """The ledger holds none, but a body must be JSON in any case."""
    body = body_of(succeeded(duration_s=math.nan, metadata={"x": math.inf}), "flat")
    assert orjson.loads(body)["metadata"] == {"x": None}
