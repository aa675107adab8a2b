"""The newest event of each object: events arrive in any order, and some more than once."""

from collections.abc import Iterator

from ittybatch.sources.event import Event

Place = tuple[str, str]


class Newest:
    """Keeps the newest event of each object.

    Args:
        removals: The newest removals so far, by bucket and key, to which this one adds. A removal
            may be read before the creation that it cancels.
    """

    def __init__(self, removals: dict[Place, Event] | None = None) -> None:
        self._removals = {} if removals is None else removals
        self._newest: dict[Place, Event] = {}

    def add(self, found: Event) -> str | None:
        """Add an event; return the name of the rule if an object is left out because of it."""
        place = (found.bucket, found.entry.key)
        before = self._newest.get(place)
        if found.removed:
            known = self._removals.get(place)
            if known is None or found.is_newer_than(known):
                self._removals[place] = found
            if before is None or before.removed or not found.cancels(before):
                return "other event"
            self._newest[place] = found
            return "removed again"
        removal = self._removals.get(place)
        if removal is not None and removal.cancels(found):
            return "removed again"
        if before is None or before.removed or found.is_newer_than(before):
            self._newest[place] = found
        # The later of the two events replaces the other one.
        return None if before is None or before.removed else "newer event"

    def existing(self) -> Iterator[Event]:
        """Yield the newest event of each object that was not removed."""
        return (event for event in self._newest.values() if not event.removed)
