"""Objects that need nothing, left out of a page before any of their jobs is made out.

On most nights that is almost every object of a library. To make out their jobs, only to find
each of them held, would take several times as long as to list them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ittybatch.errors import IttybatchError
from ittybatch.ledger import Ledger
from ittybatch.ledger.lookups import held_items
from ittybatch.profiles import Item, Profile, Profiles
from ittybatch.profiles.blueprint import Fit
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.profiles.job import item_key

# A library that comes for the first time is not to be slowed down by the look for what it holds:
# of so many objects, one in fifty tells whether it is worth it.
_MANY = 1000
_SAMPLED = 50


class Alike(NamedTuple):
    """Objects of a page that get the same renditions.

    Args:
        places: Where they stand in the page.
        keys: What the keys of their jobs begin with.
    """

    places: list[int]
    keys: list[str]


class Remaining(NamedTuple):
    """What is left of a page's items.

    Args:
        items: Those whose jobs are to be made out, in their order.
        counts: What became of the others, by name, as planning counts it.
    """

    items: Sequence[Item]
    counts: Mapping[str, int]


def objects_by_fit(
    items: Sequence[Item], profile: Profile, profiles: Profiles
) -> Mapping[Fit, Alike]:
    """Sort a page's objects by what fits them.

    Left out is what has to be looked at one by one: items that ask for a job of their own, that
    get none or name no profile that there is, and URLs, whose signatures come and go.

    Args:
        items: The page's items.
        profile: What they get.
        profiles: Those that they ask for in its place.
    """
    found: dict[Fit, Alike] = {}
    for place, item in enumerate(items):
        if item.kind is not None or not item.uri.startswith(S3_SCHEME):
            continue
        chosen = profile
        if item.profile:
            try:
                chosen = profiles.get(item.profile)
            except IttybatchError:
                continue
        fit = chosen.fitting.of(item)
        if not fit.recipes:
            continue
        alike = found.get(fit)
        if alike is None:
            alike = found[fit] = Alike([], [])
        alike.places.append(place)
        alike.keys.append(item_key(item))
    return found


def leave_out_held(
    ledger: Ledger, batch: str | None, items: Sequence[Item], objects: Mapping[Fit, Alike]
) -> Remaining:
    """Leave out the objects whose every job another batch holds.

    A claim that is let go of before the page is committed makes no difference: it is as if the
    page had come earlier, and the next batch makes the job.

    Args:
        ledger: What holds them.
        batch: The batch that is being planned; None for a dry run.
        items: The page's items.
        objects: Its objects, by what fits them.
    """
    counts: Counter[str] = Counter()
    held: set[int] = set()
    for fit, (places, keys) in objects.items():
        if len(keys) >= _MANY:
            some = ledger.read(held_items, batch, keys[::_SAMPLED], fit.recipes)
            if not some.places:
                continue
        found = ledger.read(held_items, batch, keys, fit.recipes)
        held.update(map(places.__getitem__, found.places))
        counts.update(found.counts)
        counts["skipped"] += fit.excluded * len(found.places)
    if len(held) < len(items):
        return Remaining([item for n, item in enumerate(items) if n not in held], counts)
    return Remaining((), counts)
