"""Which renditions an object gets, told from as little of it as can tell."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from ittybatch.profiles.blueprint import Blueprint
from ittybatch.profiles.item import Item
from ittybatch.profiles.subject import Subject


class Fit(NamedTuple):
    """What a profile comes to for an object.

    Args:
        recipes: Of the renditions that it gets.
        excluded: How many it does not get.
    """

    recipes: tuple[str, ...]
    excluded: int


class Fitting:
    """Remembers what fits objects that every condition takes for the same.

    Those are objects of one suffix. Where conditions ask for their size, it is told by the limits
    that it lies between; where they ask for their names, no two are the same.

    Args:
        blueprints: Of a profile's renditions.
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
        """Tell what fits an object of S3."""
        before, _, ending = item.uri.rpartition(".")
        # Such a dot is not before a suffix.
        if self._by_name or "/" in ending or before[-1:] == "/":
            return self._worked_out(item)
        size_bytes, between = item.size_bytes, None
        if self._limits and size_bytes is not None:
            between = bisect_right(self._limits, size_bytes)
        same = (ending, item.line is None, between)
        fit = self._known.get(same)
        if fit is None:
            fit = self._known[same] = self._worked_out(item)
        return fit

    def _worked_out(self, item: Item) -> Fit:
        subject = Subject(item)
        recipes = [
            blueprint.recipe
            for blueprint in self._blueprints
            if blueprint.reason_against(subject) is None
        ]
        return Fit(tuple(recipes), len(self._blueprints) - len(recipes))
