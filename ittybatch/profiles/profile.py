"""A profile: the renditions that every item of a batch gets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ittybatch.profiles.blueprint import Blueprint, check_apart
from ittybatch.profiles.destinations import Destination
from ittybatch.profiles.errors import Location, Problem, ProfileError, field_path
from ittybatch.profiles.fitting import Fitting
from ittybatch.profiles.item import Item
from ittybatch.profiles.job import JobSpec, own_job
from ittybatch.profiles.rendition import SEVERAL, Rendition, Slug
from ittybatch.profiles.subject import Subject

MAX_RENDITIONS = 100


class Profile(BaseModel):
    """Named renditions, checked as a whole.

    `model_dump(mode="json")` gives a copy that `from_mapping` reads again, for ledgers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

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
                Problem(line=None, field=field_path(location), message=message)
                for location, message in problems_of(error, data)
            ]
            name = data.get("name", "without a name")
            raise ProfileError(f"Profile {name} cannot be used:", problems=problems) from error

    @field_validator("renditions", mode="before")
    @classmethod
    def _at_least_one(cls, renditions: object) -> object:
        # Pydantic's own limit counts only what is sound, and so would report unsound ones twice.
        if isinstance(renditions, Sequence) and not renditions:
            raise ValueError("holds no rendition; give it at least one")
        return renditions

    @model_validator(mode="after")
    def _renditions_keep_apart(self) -> Self:
        names = [(place, rendition.name) for place, rendition in enumerate(self.renditions)]
        clashes = [*twin_names(names), *meeting_outputs(enumerate(self.renditions))]
        if clashes:
            raise PydanticCustomError(SEVERAL, "renditions clash", {"problems": clashes})
        return self

    def jobs_for(self, item: Item) -> list[JobSpec]:
        """Make the jobs of an item; its own kind, where it has one, replaces the renditions.

        Raises:
            UnusableItem: One of its outputs has nowhere to go.
            InvalidOptions: Its own kind is unknown, or its options do not fit it.
        """
        if item.kind is not None:
            return [own_job(item)]
        subject = Subject(item)
        jobs = [
            blueprint.job_for(subject)
            for blueprint in self._blueprints
            if blueprint.reason_against(subject) is None
        ]
        check_apart(item, jobs)
        return jobs

    def excluded_for(self, item: Item) -> list[tuple[str, str]]:
        """List the renditions that an item does not get, each with the reason.

        The reasons name no item, so that a report can count them.
        """
        if item.kind is not None:
            return []
        subject = Subject(item)
        return [
            (blueprint.rendition.name, reason)
            for blueprint in self._blueprints
            if (reason := blueprint.reason_against(subject)) is not None
        ]

    def destinations(self) -> dict[str, Destination]:
        """Give the destination of each rendition that has one, by the rendition's name."""
        return {
            blueprint.rendition.name: blueprint.destination
            for blueprint in self._blueprints
            if blueprint.destination is not None
        }

    @cached_property
    def fitting(self) -> Fitting:
        """Tells which renditions objects get, without making out their jobs."""
        return Fitting(self._blueprints)

    @cached_property
    def _blueprints(self) -> tuple[Blueprint, ...]:
        return tuple(Blueprint(rendition, self.name) for rendition in self.renditions)


def twin_names(names: Iterable[tuple[int, str]]) -> Iterator[tuple[Location, str]]:
    """Find renditions that share a name.

    Args:
        names: Each with its rendition's place in the profile.

    Yields:
        The location of the later of two, and what is wrong with it.
    """
    seen: set[str] = set()
    for place, name in names:
        if name in seen:
            yield ("renditions", place, "name"), f"{name} names two renditions"
        seen.add(name)


def meeting_outputs(
    renditions: Iterable[tuple[int, Rendition]],
) -> Iterator[tuple[Location, str]]:
    """Find renditions that share a destination or, without one, all that makes a job.

    Args:
        renditions: Each with its place in the profile.

    Yields:
        The location of the later of two, and what it shares with the earlier one.
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
    """List every problem of a profile's data: those of its fields, then those between them.

    Args:
        error: What pydantic said.
        data: What it said it about.
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
    # Pydantic looks at the whole only where every rendition is sound by itself.
    known = set(problems)
    raw = data.get("renditions") if isinstance(data, Mapping) else None
    places = list(enumerate(raw)) if isinstance(raw, list) else []
    names = [
        (place, entry["name"])
        for place, entry in places
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
    ]
    clashes = [*twin_names(names), *meeting_outputs(_sound_renditions(places))]
    return problems + [clash for clash in clashes if clash not in known]


def _sound_renditions(places: Iterable[tuple[int, object]]) -> Iterator[tuple[int, Rendition]]:
    for place, entry in places:
        with suppress(ValidationError):
            yield place, Rendition.model_validate(entry)
