"""A folder's keys in several lanes that are listed at the same time.

The order is always the same: one answer from each lane in turn. The remaining lanes after an
answer are the position to resume from. A crash repeats at most one request of each lane.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from ittybatch.sources.entry import is_before, place_of
from ittybatch.sources.listing import MAX_ANSWER, Answer, Listing

# How many folders to look into for more folders, if there are few at first.
_MAX_LOOKS = 12


class Lane(NamedTuple):
    """A range of keys.

    Args:
        uri: The folder.
        after: The range begins after this key; None for the beginning of the folder.
        until: The range ends with this key; None for the end of the folder.
    """

    uri: str
    after: str | None
    until: str | None


def split_folder(listing: Listing, uri: str, prefix: str, wanted: int) -> list[Lane]:
    """Split a folder into lanes at the folders inside it.

    Args:
        listing: The bucket's listing.
        uri: The folder's URI.
        prefix: The folder's prefix: empty, or with a slash at its end.
        wanted: How many lanes at most; fewer if there are fewer folders.
    """
    borders: list[str] = []
    if wanted > 1:
        found = listing.folders(prefix)
        waiting, looks = list(found), 1
        # Twice as many folders as lanes make lanes of about the same length.
        while waiting and len(found) < 2 * wanted and looks < _MAX_LOOKS:
            inside = listing.folders(waiting.pop(0))
            waiting += inside
            found += inside
            looks += 1
        borders = _every(sorted(set(found)), wanted)
    return [
        Lane(uri, after, until)
        for after, until in zip([None, *borders], [*borders, None], strict=True)
    ]


def _every(borders: list[str], lanes: int) -> list[str]:
    """Choose evenly spaced borders, but not the first: there is little to list before it."""
    if len(borders) < lanes:
        return borders[1:]
    step = len(borders) / lanes
    return [borders[int(number * step)] for number in range(1, lanes)]


class Lanes:
    """Lists lanes in turn, and requests the next answer of each lane ahead.

    Args:
        lanes: The lanes to list, in the order of their turns.
        ask: Lists the next keys of a lane, up to a number of them.
        at_once: How many lanes take turns; the others wait until one of these has ended.
        limit: Keys in an answer at most.
    """

    def __init__(
        self,
        lanes: list[Lane],
        ask: Callable[[Lane, int], Answer],
        at_once: int,
        limit: int,
    ) -> None:
        self._lanes = lanes
        self._ask = ask
        self._at_once = at_once
        self._limit = min(limit, MAX_ANSWER)

    def __iter__(self) -> Iterator[tuple[Lane, Answer, list[Lane]]]:
        """Yield a lane, an answer from it, and the lanes that remain after it.

        Raises:
            SourceError: A listing failed.
        """
        lanes = self._lanes
        asked: dict[Lane, Future[Answer]] = {}
        pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="listing")
        try:
            while lanes:
                for lane in lanes[: self._at_once]:
                    if lane not in asked:
                        asked[lane] = pool.submit(self._ask, lane, self._limit)
                lane, *lanes = lanes
                answer = _within(asked.pop(lane).result(), lane.until)
                if answer.more:
                    rest = lane._replace(after=answer.last)
                    lanes.insert(min(self._at_once - 1, len(lanes)), rest)
                    # The request runs while the caller handles this answer.
                    asked[rest] = pool.submit(self._ask, rest, self._limit)
                yield lane, answer, lanes
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _within(answer: Answer, until: str | None) -> Answer:
    """Leave out keys that belong to the next lane."""
    if until is None or answer.last is None or not is_before(until, answer.last):
        return answer
    end = place_of(until)
    entries = [each for each in answer.entries if place_of(each.key) <= end]
    return Answer(entries, until, more=False)
