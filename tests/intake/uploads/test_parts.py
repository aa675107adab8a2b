"""How a file is cut into parts."""

import pytest

from ittybatch.intake.upload_parts import MAX_PARTS, MAX_SIZE, MIN_PART, cut

MB, MIB, GB = 1000**2, 1024**2, 1000**3
MAX_PART = 5 * 1024**3


@pytest.mark.parametrize("size", [1, 5 * MIB, 100 * MB])
def test_a_small_file_is_one_request(size: int) -> None:
    """Up to 100 MB."""
    assert cut(size).count == 1
    [part] = cut(size).after(0, 100)
    assert (part.number, part.offset, part.size_bytes) == (1, 0, size)


@pytest.mark.parametrize(
    "size",
    [100 * MB + 1, 300 * MB, 10 * GB, 167_772_160_000, 167_772_160_001, 4 * 10**12, MAX_SIZE],
)
def test_the_parts_are_what_s3_accepts(size: int) -> None:
    """At most 10,000 of at least 5 MiB, each within 5 GiB, and together the whole file."""
    parts = cut(size)
    every = parts.after(0, MAX_PARTS)
    assert len(every) == parts.count <= MAX_PARTS
    assert [part.number for part in every] == list(range(1, parts.count + 1))
    assert {part.size_bytes for part in every[:-1]} == {parts.part_bytes}
    assert MIN_PART <= parts.part_bytes <= MAX_PART
    assert 0 < every[-1].size_bytes <= parts.part_bytes
    assert every[-1].offset + every[-1].size_bytes == size


def test_parts_are_small_until_a_file_would_have_too_many() -> None:
    """A part that fails is sent again as a whole."""
    assert cut(300 * MB).part_bytes == 16 * MIB
    assert cut(150 * GB).part_bytes == 16 * MIB
    assert cut(1000 * GB).part_bytes == 96 * MIB


def test_parts_are_asked_for_in_pages() -> None:
    """After the last there is none."""
    parts = cut(1000 * 16 * MIB)
    assert [part.number for part in parts.after(0, 100)] == list(range(1, 101))
    assert [part.number for part in parts.after(950, 100)] == list(range(951, 1001))
    assert parts.after(1000, 100) == []
