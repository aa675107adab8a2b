"""A rendition, prepared once to make the jobs of many items quickly."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ittybatch.profiles.condition import SOURCES_OF_KIND, Condition
from ittybatch.profiles.destinations import Destination, parse_destination
from ittybatch.profiles.errors import UnusableItem
from ittybatch.profiles.item import Item
from ittybatch.profiles.job import JobSpec, identifying_json, job_key, order_digest
from ittybatch.profiles.rendition import METADATA_FIELDS, Rendition
from ittybatch.profiles.subject import Subject
from ittybatch.profiles.template import Part, fill_constants, parse_template, render

if TYPE_CHECKING:
    from ittybatch.profiles.media import Media


class Blueprint:
    """Everything about a rendition that is the same for every item.

    Args:
        rendition: The rendition.
        profile_name: Value of `{profile}` in metadata.
    """

    def __init__(self, rendition: Rendition, profile_name: str) -> None:
        self.rendition = rendition
        # Without a condition, a known suffix decides.
        self._media: tuple[Media, ...] = ()
        if rendition.when == Condition():
            self._media = SOURCES_OF_KIND[rendition.kind]
        self.options_json = identifying_json(rendition.options)
        self.destination: Destination | None = None
        if rendition.destination is not None:
            self.destination = parse_destination(rendition.destination, rendition.constants)
        #: Identifies what is asked for, with the item's own values left open.
        self.recipe = order_digest(
            rendition.kind.value,
            self.options_json,
            self.destination and self.destination.as_json,
        )
        constants = {"ext": "", **rendition.constants, "profile": profile_name}
        self._metadata: list[tuple[str, list[Part]]] = [
            (name, fill_constants(parse_template(text, METADATA_FIELDS, metadata=True), constants))
            for name, text in rendition.metadata.items()
        ]

    def fits(self, subject: Subject) -> bool:
        """Say whether an item gets a job of this rendition."""
        if subject.media in self._media:
            return True
        return self.rendition.when.fits(subject, self.rendition.kind)

    def job_for(self, subject: Subject) -> JobSpec:
        """Make an item's job.

        Raises:
            UnusableItem: The destination cannot be used.
        """
        rendition = self.rendition
        destination = self.destination.render(subject) if self.destination else None
        return JobSpec(
            rendition=rendition.name,
            kind=rendition.kind,
            input=subject.item.uri,
            options=rendition.options,
            destination=destination,
            metadata=self._metadata_for(subject),
            attempts=rendition.attempts,
            deadline_s=rendition.deadline,
            backoff_s=rendition.backoff,
            job_key=job_key(subject.item_key, rendition.kind.value, self.options_json, destination),
            recipe=self.recipe,
        )

    def _metadata_for(self, subject: Subject) -> Mapping[str, str]:
        if not self._metadata:
            return subject.item.metadata
        metadata = dict(subject.item.metadata)
        values = subject.metadata_values
        for name, parts in self._metadata:
            if text := render(parts, values):
                metadata[name] = text
        return metadata


class Fit(NamedTuple):
    """Which renditions an object gets.

    Args:
        recipes: Recipes of the renditions that it gets.
        excluded: Number of renditions that it does not get.
    """

    recipes: tuple[str, ...]
    excluded: int


class Fitting:
    """Finds the renditions of objects without making their jobs, and remembers the answers.

    Objects with the same suffix get the same renditions, unless a condition asks for more: for
    sizes, the answer is remembered by suffix and by the limits around the size; for names
    (`glob`), nothing is remembered.

    Args:
        blueprints: The profile's renditions.
    """

    def __init__(self, blueprints: Sequence[Blueprint]) -> None:
        conditions = [blueprint.rendition.when for blueprint in blueprints]
        limits = [each.min_size for each in conditions if each.min_size is not None]
        limits += [each.max_size + 1 for each in conditions if each.max_size is not None]
        self._blueprints = blueprints
        self._limits = sorted(limits)
        self._by_name = any(each.glob is not None for each in conditions)
        self._known: dict[tuple[str, bool, int | None], Fit] = {}

    def of(self, item: Item) -> Fit:
        """Find the renditions of an S3 object."""
        before, _, ending = item.uri.rpartition(".")
        # A dot in a folder's name, or at the start of the file's, does not begin a suffix.
        if self._by_name or "/" in ending or before[-1:] == "/":
            return self._find(item)
        size_bytes, between = item.size_bytes, None
        if self._limits and size_bytes is not None:
            between = bisect_right(self._limits, size_bytes)
        same = (ending, item.line is None, between)
        fit = self._known.get(same)
        if fit is None:
            fit = self._known[same] = self._find(item)
        return fit

    def _find(self, item: Item) -> Fit:
        subject = Subject(item)
        recipes = [each.recipe for each in self._blueprints if each.fits(subject)]
        return Fit(tuple(recipes), len(self._blueprints) - len(recipes))


def refuse_shared_destination(item: Item, jobs: Sequence[JobSpec]) -> None:
    """Refuse an item if two of its jobs would write to the same destination.

    Raises:
        UnusableItem: Naming both renditions.
    """
    if len(jobs) == 1:
        return
    seen: dict[str, str] = {}
    for job in jobs:
        if job.destination is None:
            continue
        other = seen.setdefault(job.destination, job.rendition)
        if other != job.rendition:
            raise UnusableItem(
                f"{item.shown}: renditions {other} and {job.rendition} would both be written "
                f"to {job.destination}.",
                remedy="Put {rendition} into their destinations.",
            )
