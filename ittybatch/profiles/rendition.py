"""One wanted output, as a profile declares it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from ittybatch.ittybit.options import InvalidOptions, Kind, canonical_options
from ittybatch.profiles.condition import Condition
from ittybatch.profiles.destinations import parse_destination
from ittybatch.profiles.job import DEFAULT_ATTEMPTS, DEFAULT_BACKOFF_S, DEFAULT_DEADLINE_S
from ittybatch.profiles.quantities import Seconds
from ittybatch.profiles.subject import METADATA_ITEM_FIELDS
from ittybatch.profiles.template import parse_template

SLUG = r"[a-z0-9][a-z0-9_-]{0,62}"
METADATA_FIELDS = METADATA_ITEM_FIELDS | {"rendition", "kind", "ext"}
MAX_PAIRS = 32
# Type of an error that holds several: its context lists (location below it, message).
SEVERAL = "several"

_METADATA_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_RESERVED = "ittybatch"
_DAY_S = 86400.0
_DEFAULT_FORMATS = {Kind.VIDEO: "mp4", Kind.AUDIO: "mp3", Kind.ANIMATION: "gif"}
_EXTENSIONS = {"jpeg": "jpg", "hls": "m3u8"}


def _check_slug(name: str) -> str:
    if not re.fullmatch(SLUG, name):
        raise ValueError(f"{name[:80]!r} is not a valid name; use up to 63 of a-z, 0-9, - and _")
    return name


Slug = Annotated[str, AfterValidator(_check_slug)]


class Rendition(BaseModel):
    """One output that every item gets if it meets the condition."""

    # The order matters: a destination is checked with the name, kind and options before it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Slug
    kind: Kind
    options: Annotated[dict[str, Any], Field(validate_default=True)] = {}
    when: Condition = Condition()
    destination: Annotated[str | None, Field(max_length=1000)] = None
    metadata: Annotated[dict[str, str], Field(max_length=MAX_PAIRS)] = {}
    attempts: Annotated[int, Field(strict=True, ge=1, le=10)] = DEFAULT_ATTEMPTS
    deadline: Annotated[Seconds, Field(gt=0, le=30 * _DAY_S)] = DEFAULT_DEADLINE_S
    backoff: Annotated[Seconds, Field(ge=0, le=_DAY_S)] = DEFAULT_BACKOFF_S

    @field_validator("options", mode="after")
    @classmethod
    def _options_of_kind(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "kind" not in info.data:
            return options
        try:
            return canonical_options(info.data["kind"], options)
        except InvalidOptions as error:
            problems = [
                ((problem.field,), f"{problem.value}: {problem.problem} {problem.remedy}")
                for problem in error.problems
            ]
            raise PydanticCustomError(SEVERAL, "invalid options", {"problems": problems}) from error

    @field_validator("destination", mode="after")
    @classmethod
    def _usable_destination(cls, destination: str | None, info: ValidationInfo) -> str | None:
        data = info.data
        if destination is None or "name" not in data or "kind" not in data:
            return destination
        # If the options are invalid, the template is checked as if they named a format.
        options = data.get("options", {"format": "ext"})
        parse_destination(destination, constants_of(data["name"], data["kind"], options))
        return destination

    @field_validator("metadata", mode="before")
    @classmethod
    def _numbers_as_text(cls, metadata: object) -> object:
        if not isinstance(metadata, Mapping):
            return metadata
        return {
            name: str(value) if type(value) in {int, float} else value
            for name, value in metadata.items()
        }

    @field_validator("metadata", mode="after")
    @classmethod
    def _usable_metadata(cls, metadata: dict[str, str]) -> dict[str, str]:
        for name, text in metadata.items():
            check_metadata_name(name)
            parse_template(text, METADATA_FIELDS, metadata=True)
        return metadata

    @property
    def constants(self) -> dict[str, str]:
        """Values of the template fields that all items share."""
        return constants_of(self.name, self.kind, self.options)


def constants_of(name: str, kind: Kind, options: Mapping[str, Any]) -> dict[str, str]:
    """Return a rendition's template fields; `ext` only if its format is known."""
    constants = {"rendition": name, "kind": kind.value}
    extension = extension_of(kind, options)
    return constants if extension is None else {**constants, "ext": extension}


def extension_of(kind: Kind, options: Mapping[str, Any]) -> str | None:
    """Return an output's suffix without the dot; None if it depends on the input."""
    if kind is Kind.ADAPTIVE_VIDEO:
        return "m3u8"
    name = options.get("format") or _DEFAULT_FORMATS.get(kind)
    return _EXTENSIONS.get(name, name) if name else None


def check_metadata_name(name: str) -> None:
    """Refuse a metadata name that is invalid or reserved for ittybatch.

    Raises:
        ValueError: Saying which names are allowed.
    """
    if not _METADATA_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for metadata; use letters, digits, _, - and .")
    if name.lower().startswith(_RESERVED):
        raise ValueError(
            f"{name!r} is reserved; choose a name that does not begin with {_RESERVED}"
        )
