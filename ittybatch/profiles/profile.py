"""A profile: the renditions that every item of a batch gets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ittybatch.profiles.blueprint import Blueprint, Fitting, refuse_shared_destination
from ittybatch.profiles.destinations import Destination
from ittybatch.profiles.errors import ROOT, ProfileError
from ittybatch.profiles.item import Item
from ittybatch.profiles.job import JobSpec, own_job
from ittybatch.profiles.rendition import SEVERAL, Rendition, Slug
from ittybatch.profiles.subject import Subject
from ittybatch.yaml_files import Location, Problem, field_path, list_problems

MAX_RENDITIONS = 100


class Profile(BaseModel):
    """Named renditions, checked as a whole.

    The ledger keeps `model_dump(mode="json")`, which `from_mapping` reads again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Slug
    description: Annotated[str, Field(max_length=2000)] = ""
    renditions: Annotated[tuple[Rendition, ...], Field(max_length=MAX_RENDITIONS)]

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """Build a profile from plain data.

        Raises:
            ProfileError: Listing every problem.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            problems = [
                Problem(line=None, field=field_path(location, root=ROOT), message=message)
                for location, message in problems_of(error, data)
            ]
            name = data.get("name", "without a name")
            message = list_problems(f"Profile {name}", problems)
            raise ProfileError(message, problems=problems) from error

    @field_validator("renditions", mode="before")
    @classmethod
    def _at_least_one(cls, renditions: object) -> object:
        # Pydantic's own limit counts valid entries only, and would report invalid ones twice.
        if isinstance(renditions, Sequence) and not renditions:
            raise ValueError("is empty; add at least one rendition")
        return renditions

    @model_validator(mode="after")
    def _renditions_do_not_clash(self) -> Self:
        names = [(place, rendition.name) for place, rendition in enumerate(self.renditions)]
        clashes = [*duplicate_names(names), *duplicate_jobs(enumerate(self.renditions))]
        if clashes:
            raise PydanticCustomError(SEVERAL, "renditions clash", {"problems": clashes})
        return self

    def jobs_for(self, item: Item) -> list[JobSpec]:
        """Make the jobs of an item. A kind in its manifest row replaces the profile's renditions.

        Raises:
            UnusableItem: The destination of an output cannot be used.
            InvalidOptions: The row's kind is unknown, or its options do not fit the kind.
        """
        if item.kind is not None:
            return [own_job(item)]
        subject = Subject(item)
        jobs = [
            blueprint.job_for(subject) for blueprint in self._blueprints if blueprint.fits(subject)
        ]
        refuse_shared_destination(item, jobs)
        return jobs

    def destinations(self) -> dict[str, Destination]:
        """Return the destinations of renditions by the rendition's name, where they have one."""
        return {
            blueprint.rendition.name: blueprint.destination
            for blueprint in self._blueprints
            if blueprint.destination is not None
        }

    @cached_property
    def fitting(self) -> Fitting:
        """Finds which renditions objects get, without making their jobs."""
        return Fitting(self._blueprints)

    @cached_property
    def _blueprints(self) -> tuple[Blueprint, ...]:
        return tuple(Blueprint(rendition, self.name) for rendition in self.renditions)


def duplicate_names(names: Iterable[tuple[int, str]]) -> Iterator[tuple[Location, str]]:
    """Find renditions that share a name.

    Args:
        names: Names of renditions, each with its index in the profile.

    Yields:
        The location of the later rendition, and the problem.
    """
    seen: set[str] = set()
    for place, name in names:
        if name in seen:
            yield ("renditions", place, "name"), f"{name} is the name of two renditions"
        seen.add(name)


def duplicate_jobs(
    renditions: Iterable[tuple[int, Rendition]],
) -> Iterator[tuple[Location, str]]:
    """Find renditions that share a destination or, without destinations, kind and options.

    Args:
        renditions: The renditions, each with its index in the profile.

    Yields:
        The location of the later rendition, and what it shares with the earlier one.
    """
    seen: dict[object, str] = {}
    for place, rendition in renditions:
        blueprint = Blueprint(rendition, "")
        if blueprint.destination is None:
            shared: object = (rendition.kind, blueprint.options_json)
            what, field = "asks for the same job as", "options"
        else:
            shared = blueprint.destination
            what, field = "is written to the same destination as", "destination"
        if shared in seen:
            message = f"{rendition.name} {what} {seen[shared]}"
            yield ("renditions", place, field), message
        seen.setdefault(shared, rendition.name)


def problems_of(error: ValidationError, data: object) -> list[tuple[Location, str]]:
    """List every problem of a profile's data: first of single fields, then between renditions.

    Args:
        error: Pydantic's error.
        data: The data that it validated.
    """
    problems: list[tuple[Location, str]] = []
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == SEVERAL:
            problems += [
                ((*detail["loc"], *below), message) for below, message in detail["ctx"]["problems"]
            ]
            continue
        message = detail["msg"].removeprefix("Value error, ")
        problems.append((detail["loc"], message[:1].lower() + message[1:]))
    # Pydantic validates the whole only if every rendition is valid.
    known = set(problems)
    raw = data.get("renditions") if isinstance(data, Mapping) else None
    places = list(enumerate(raw)) if isinstance(raw, list) else []
    names = [
        (place, entry["name"])
        for place, entry in places
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
    ]
    clashes = [*duplicate_names(names), *duplicate_jobs(_valid_renditions(places))]
    return problems + [clash for clash in clashes if clash not in known]


def _valid_renditions(places: Iterable[tuple[int, object]]) -> Iterator[tuple[int, Rendition]]:
    for place, entry in places:
        with suppress(ValidationError):
            yield place, Rendition.model_validate(entry)
