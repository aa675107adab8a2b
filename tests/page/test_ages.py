"""Ages and gaps on the page: the next unit begins where one ends."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest

from ittybatch.page import filters
from ittybatch.page.filters import age
from ittybatch.page.story import gap_words

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(NOW.timestamp(), tz)

    monkeypatch.setattr(filters, "datetime", Clock)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "0 s ago"),
        (59.6, "59 s ago"),
        (60, "1 min ago"),
        (3599.9, "59 min ago"),
        (3600, "1 h ago"),
        (172_799.9, "47 h ago"),
        (172_800, "2 d ago"),
        (-59.6, "in 59 s"),
        (-3599.9, "in 59 min"),
    ],
)
def test_an_age_is_in_whole_units_that_have_passed(seconds: float, shown: str) -> None:
    """A minute is never 60 s."""
    assert age(NOW - timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, ""),
        (0.99, ""),
        (59.4, "59 s later"),
        (59.6, "1 min later"),
        (90.2, "1 min 30 s later"),
        (3599.4, "59 min 59 s later"),
        (3599.6, "1 h later"),
        (3690, "1 h 2 min later"),
        (172_799.6, "2 d later"),
        (-59.6, "1 min earlier"),
    ],
)
def test_a_gap_is_rounded_before_its_unit_is_chosen(seconds: float, shown: str) -> None:
    """An hour is never 60 min."""
    assert gap_words(seconds) == shown
