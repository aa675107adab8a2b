"""Leave unchanged objects out of a page before their jobs are computed.

On most nights, almost every object of a library is unchanged. Computing their jobs, only to find
that each one exists already, would take several times as long as the listing.
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

# A lookup that finds nothing must not slow down a new library. So, from this many objects on, a
# sample of one in fifty decides whether the lookup is worthwhile.
_MANY = 1000
_SAMPLED = 50


class Alike(NamedTuple):
    """Objects of a page that get the same renditions.

    Args:
        places: Indexes of the objects in the page.
        keys: Prefixes of their job keys.
    """

    places: list[int]
    keys: list[str]


class Remaining(NamedTuple):
    """The items that remain on a page.

    Args:
        items: Items whose jobs must be computed, in order.
        counts: Numbers of the items left out, under the names that planning uses.
    """

    items: Sequence[Item]
    counts: Mapping[str, int]


def objects_by_fit(
    items: Sequence[Item], profile: Profile, profiles: Profiles
) -> Mapping[Fit, Alike]:
    """Group a page's objects by the renditions that they get.

    Some items must be examined one by one, and are left out: items that name a kind of job, that
    get no rendition, or that name an unknown profile, and URLs, whose signatures change.

    Args:
        items: The page's items.
        profile: The batch's profile.
        profiles: Profiles that items may name instead.
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
    """Leave out an object if other batches hold all its jobs.

    If a claim is released before the page is committed, the next batch makes that job.

    Args:
        ledger: The ledger, which knows the held jobs.
        batch: The batch that is being planned; None for a dry run.
        items: The page's items.
        objects: The page's objects, grouped by renditions.
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
