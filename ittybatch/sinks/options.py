"""The options that all kinds of sinks share, as `results.yaml` has them."""

from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ittybatch.sinks.base import Result
from ittybatch.sinks.fields import as_text, value_of
from ittybatch.sinks.values import parse_text

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,99}"


class SinkOptions(BaseModel):
    """One sink. Each kind adds its own options, and opens with `open()`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: str
    name: str = Field(description="Its name in commands and messages.", pattern=f"^{NAME_PATTERN}$")
    on_accepted: bool = Field(
        default=False, description="Whether it also hears of jobs that Ittybit has accepted."
    )
    only: dict[str, str | int | bool | list[str | int | bool]] = Field(
        default_factory=dict,
        description="Conditions: the values that a field must have, such as "
        "{rendition: [sd, hd], metadata.source: upload}. Other results count as delivered.",
    )

    @field_validator("only")
    @classmethod
    def _known_fields(
        cls, only: dict[str, str | int | bool | list[str | int | bool]]
    ) -> dict[str, str | int | bool | list[str | int | bool]]:
        for field in only:
            parse_text(f"{{{field}}}")
        return only

    @cached_property
    def _conditions(self) -> tuple[tuple[str, frozenset[str]], ...]:
        return tuple(
            (field, frozenset(map(as_text, given if isinstance(given, list) else [given])))
            for field, given in self.only.items()
        )

    def wants(self, result: Result) -> bool:
        """Whether a result meets the conditions of `only`."""
        return all(as_text(value_of(result, field)) in values for field, values in self._conditions)
