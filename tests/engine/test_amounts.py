"""Amounts as people read them."""

import pytest

from ittybatch.engine.amounts import format_count, format_duration, format_total


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1234, "1,234 rows")]
)
def test_one_is_told_in_the_singular(count: int, said: str) -> None:
    """Nothing is not one."""
    assert format_count(count, "row") == said


@pytest.mark.parametrize(
    ("size", "items", "said"), [(0, 0, "0 Bytes"), (0, 3, "unknown"), (1500, 3, "1.5 kB")]
)
def test_a_size_that_nobody_knows_is_not_nothing(size: int, items: int, said: str) -> None:
    """Manifests and queries have no sizes but those that they are given."""
    assert format_total(size, items) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (2.5, "2.5 s"),
        (59.94, "59.9 s"),
        (59.97, "1:00"),
        (90, "1:30"),
        (3725, "1:02:05"),
    ],
)
def test_a_minute_is_never_sixty_seconds(seconds: float | None, said: str) -> None:
    """Rounded before it is compared."""
    assert format_duration(seconds) == said
