"""Points in time as people write them: a date and time, or an age such as `2d`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from ittybatch.profiles.quantities import Seconds, parse_duration

# Much longer ages are before the first date that Python knows.
_OLDEST_YEARS = 100
_YEAR_S = 365 * 86_400.0


def _age(value: str) -> str:
    text = value.strip().lower()
    parse_duration(text)
    return text


def _within_reach(value: object) -> object:
    """Refuse an age that is too long. Otherwise pydantic would report a wrong date."""
    try:
        seconds = parse_duration(value)
    except ValueError:
        return value
    if isinstance(value, str) and isinstance(seconds, float) and seconds > _OLDEST_YEARS * _YEAR_S:
        raise ValueError(
            f"it is more than {_OLDEST_YEARS} years ago; write a shorter age or a date"
        )
    return value


def _in_utc(value: datetime) -> datetime:
    """Refuse a time on the first or last day of years that does not exist in UTC."""
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is not between the years 1 and 9999 in UTC") from None
    return value


AwareMoment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Age = Annotated[str, Field(max_length=40), AfterValidator(_age)]
Moment = Annotated[
    AwareMoment | Age,
    Field(union_mode="left_to_right"),
    BeforeValidator(_within_reach),
    WithJsonSchema(
        {
            "anyOf": [
                {"title": "Date and time", "type": "string", "format": "date-time"},
                {"title": "Ago, such as 2d or 6h", "type": "string"},
            ]
        }
    ),
]


def _written(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


# Text in JSON, too: Prefect validates a run's parameters against the form's schema.
Span = Annotated[
    Seconds,
    Field(le=_OLDEST_YEARS * _YEAR_S, allow_inf_nan=False),
    PlainSerializer(_written, return_type=str, when_used="json"),
]


def seconds_of(age: str) -> float:
    """Return an age in seconds."""
    seconds = parse_duration(age)
    assert isinstance(seconds, float)  # noqa: S101 - `Age` has been checked
    return seconds


def fixed(moment: datetime | str | None, now: datetime | None = None) -> datetime | None:
    """Return a moment as a date and time.

    Args:
        moment: An aware datetime, an age, or None.
        now: The time that an age counts back from; None for the present.
    """
    if not isinstance(moment, str):
        return moment
    return (now or datetime.now(UTC)) - timedelta(seconds=seconds_of(moment))
