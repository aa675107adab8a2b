"""A rendition made ready to be filled with items, a great many a second."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

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
    """What of a rendition is the same for every item, worked out once.

    Args:
        rendition: The rendition.
        profile_name: Value of `{profile}` in metadata.
    """

    def __init__(self, rendition: Rendition, profile_name: str) -> None:
        self.rendition = rendition
        self._media: tuple[Media, ...] = ()
        if rendition.when == Condition():
            self._media = SOURCES_OF_KIND[rendition.kind]
        self.options_json = identifying_json(rendition.options)
        self.destination: Destination | None = None
        if rendition.destination is not None:
            self.destination = parse_destination(rendition.destination, rendition.constants)
        #: Tells renditions apart whose jobs of an item differ; an item's part is left open.
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

    def reason_against(self, subject: Subject) -> str | None:
        """Say why an item gets no job of this rendition; None where it gets one."""
        if subject.media in self._media:
            # A condition that asks for nothing, and an item of a suffix that says enough.
            return None
        return self.rendition.when.reason_against(subject, self.rendition.kind)

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


def check_apart(item: Item, jobs: list[JobSpec]) -> None:
    """Refuse an item two of whose outputs would meet.

    Raises:
        UnusableItem: Naming both renditions.
    """
    if len(jobs) < 2:  # noqa: PLR2004  one cannot meet itself
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
