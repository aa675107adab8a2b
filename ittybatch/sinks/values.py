"""The values that `results.yaml` gives to columns and attributes.

A value is a constant, a template such as `{output_url}`, or cases by a field:
`{status: {succeeded: ready, failed: failed}}`. In a result without a case, the column is left
as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ittybatch.profiles.template import Field, Part, parse_template
from ittybatch.sinks.base import Result
from ittybatch.sinks.fields import FIELDS, as_text, value_of

# The case for all results that have none of their own.
OTHERWISE: Final = "default"


class _Unchanged:
    """Says that a column keeps its value."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = _Unchanged()


class Value(Protocol):
    """What a column or an attribute gets from a result."""

    def of(self, result: Result) -> Any:  # noqa: ANN401 - columns have any type
        """Return the value for a result, or `UNCHANGED`."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value for all results."""

    value: Any

    def of(self, result: Result) -> Any:  # noqa: ANN401 - columns have any type
        """Return the value."""
        del result
        return self.value


@dataclass(frozen=True, slots=True)
class Template:
    """A template. A field that stands alone keeps its type: a time, a number or None."""

    parts: tuple[Part, ...]

    def of(self, result: Result) -> Any:  # noqa: ANN401 - columns have any type
        """Fill in the fields."""
        match self.parts:
            case (Field(name),):
                return value_of(result, name)
            case _:
                return "".join(
                    part if isinstance(part, str) else as_text(value_of(result, part.name))
                    for part in self.parts
                )

    def is_complete(self, result: Result) -> bool:
        """Whether the result has a value for each field."""
        return all(
            as_text(value_of(result, part.name)) for part in self.parts if isinstance(part, Field)
        )


@dataclass(frozen=True, slots=True)
class Cases:
    """A value for each value of a field."""

    field: str
    values: Mapping[str, Value]

    def of(self, result: Result) -> Any:  # noqa: ANN401 - columns have any type
        """Return the value of the result's case; `UNCHANGED` without one."""
        found = self.values.get(as_text(value_of(result, self.field)))
        found = found or self.values.get(OTHERWISE)
        return UNCHANGED if found is None else found.of(result)


def parse_text(text: str) -> Template:
    """Parse a template.

    Raises:
        ValueError: It names an unknown field, or its braces do not match.
    """
    return Template(tuple(parse_template(text, FIELDS, metadata=True)))


def parse_value(given: object) -> Value:
    """Parse a value as `results.yaml` has it.

    Raises:
        ValueError: It is no constant, template or cases. The message says why.
    """
    if isinstance(given, str):
        return parse_text(given)
    if given is None or isinstance(given, (bool, int, float)):
        return Constant(given)
    if isinstance(given, Mapping) and len(given) == 1:
        [(field, cases)] = given.items()
        if isinstance(cases, Mapping) and cases:
            parse_text(f"{{{field}}}")
            return Cases(str(field), {as_text(case): parse_value(to) for case, to in cases.items()})
    raise ValueError(
        "it is neither a constant, nor a template such as '{output_url}' (in quotes), nor cases "
        "such as {status: {succeeded: ready, failed: failed}}"
    )
