"""Points in time: ages that lead to a date, and no others."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from ittybatch.sources import BucketSource
from ittybatch.sources.moment import Moment, fixed

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MOMENT: TypeAdapter[datetime | str] = TypeAdapter(Moment)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2d", datetime(2026, 5, 30, tzinfo=UTC)),
        (" 1H30M ", datetime(2026, 5, 31, 22, 30, tzinfo=UTC)),
        ("36500d", datetime(1926, 6, 26, tzinfo=UTC)),
        ("2026-01-31T00:00:00Z", datetime(2026, 1, 31, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_date_or_how_long_ago(written: str, meant: datetime) -> None:
    """As a person types it."""
    assert fixed(MOMENT.validate_python(written), NOW) == meant


@pytest.mark.parametrize("written", ["36501d", "99999999d", f"{'9' * 400}d"])
def test_an_age_that_leads_to_no_date_is_refused(written: str) -> None:
    """With the reason alone, not with all that a date is not."""
    with pytest.raises(ValidationError) as caught:
        MOMENT.validate_python(written)
    [problem] = caught.value.errors()
    assert "more than 100 years ago" in problem["msg"]


@pytest.mark.parametrize("overlap", ["1000000d", f"{'9' * 400}d", float("inf"), float("nan")])
def test_an_overlap_that_leads_to_no_date_is_refused(overlap: str | float) -> None:
    """Before a scan begins."""
    with pytest.raises(ValidationError, match="overlap"):
        BucketSource.model_validate({"uri": "s3://media/", "overlap": overlap})
    assert BucketSource.model_validate({"uri": "s3://media/", "overlap": "36500d"}).overlap > 0


@pytest.mark.parametrize("size", [f"{'9' * 400}kB", "2000000TB", 10**19, f"{'9' * 18}.9TiB"])
def test_a_size_beyond_any_object_is_refused(size: str | int) -> None:
    """In words; such a number is a typing error."""
    with pytest.raises(ValidationError, match="min_size"):
        BucketSource.model_validate({"uri": "s3://media/", "min_size": size})
