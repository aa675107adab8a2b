"""Objects that need nothing, left out of a page before any of their jobs is made out.

On most nights that is almost every object of a library. To make out their jobs, only to find
each of them held, would take several times as long as to list them.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.held import held_items
from ittybatch.profiles import Item, Profile, Profiles
from ittybatch.profiles.fitting import Fit
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.profiles.job import item_key


class Remaining(NamedTuple):
    """What is left of a page's items.

    Args:
        items: Those whose jobs are to be made out, in their order.
        counts: What became of the others, by name, as planning counts it.
    """

    items: list[Item]
    counts: Mapping[str, int]


def leave_out_held(
    ledger: Ledger, batch: str | None, items: list[Item], profile: Profile, profiles: Profiles
) -> Remaining:
    """Leave out the objects whose every job another batch holds.

    A claim that is let go of before the page is committed makes no difference: it is as if the
    page had come earlier, and the next batch makes the job.

    Args:
        ledger: What holds them.
        batch: The batch that is being planned; None for a dry run.
        items: A page's items.
        profile: What they get.
        profiles: Those that they ask for in its place.
    """
    counts: Counter[str] = Counter()
    held: set[int] = set()
    for fit, places in _by_fit(items, profile, profiles).items():
        keys = [item_key(items[place]) for place in places]
        found = ledger.read(held_items, batch, keys, fit.recipes)
        if found.places:
            held.update(map(places.__getitem__, found.places))
            counts.update(found.counts)
            counts["skipped"] += fit.excluded * len(found.places)
    if not held:
        return Remaining(items, {})
    if len(held) == len(items):
        return Remaining([], counts)
    return Remaining([item for place, item in enumerate(items) if place not in held], counts)


def _by_fit(items: list[Item], profile: Profile, profiles: Profiles) -> dict[Fit, list[int]]:
    """Places of objects by what fits them; without those that nothing fits, or that ask for it."""
    found: dict[Fit, list[int]] = {}
    for place, item in enumerate(items):
        if item.kind is not None or not item.uri.startswith(S3_SCHEME):
            continue
        try:
            chosen = profiles.get(item.profile) if item.profile else profile
        except IttybatchError:
            continue
        fit = chosen.fitting.of(item)
        if (places := found.get(fit)) is not None:
            places.append(place)
        elif fit.recipes:
            found[fit] = [place]
    return found
