"""A folder's keys in several stretches that are listed at the same time.

The order is the same each time: one answer of each stretch in turn. The stretches as they are
after an answer are the place to go on from. A stop costs at most one answer of each of those
that were being listed.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from ittybatch.sources.listing import MAX_ANSWER, Answer, Listing

# Where the first folders are few, those inside them are looked for, so far.
_MAX_LOOKS = 12


class Lane(NamedTuple):
    """A stretch of keys.

    Args:
        uri: Folder that it is a part of.
        after: Key that it begins after; None for the folder's first.
        until: Last key that can belong to it; None for the folder's last.
    """

    uri: str
    after: str | None
    until: str | None


def split_folder(listing: Listing, uri: str, prefix: str, wanted: int) -> list[Lane]:
    """Split a folder where folders inside it begin.

    Args:
        listing: Of the bucket.
        uri: The folder's URI.
        prefix: Empty, or ending with a slash.
        wanted: Lanes at most; fewer where there are fewer folders.
    """
    borders: list[str] = []
    if wanted > 1:
        found = listing.folders(prefix)
        waiting, looks = list(found), 1
        # Twice as many as lanes, so that they come to about the same length.
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
    """Choose borders at like distances; before the first folder there is little to list."""
    if len(borders) < lanes:
        return borders[1:]
    step = len(borders) / lanes
    return [borders[int(number * step)] for number in range(1, lanes)]


class Lanes:
    """Lists lanes by turns, with the next answer of each asked for beforehand.

    Args:
        lanes: What is left to list, in order of their turns.
        ask: Lists what comes after a key of a lane.
        at_once: How many lanes take turns; the others wait until one of those has ended.
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
        """Give a lane, an answer of it, and the lanes as they are after that.

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
                    # Listed while this answer is being dealt with.
                    asked[rest] = pool.submit(self._ask, rest, self._limit)
                yield lane, answer, lanes
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _within(answer: Answer, until: str | None) -> Answer:
    """Leave out what belongs to the next lane."""
    if until is None or answer.last is None or answer.last <= until:
        return answer
    return Answer([each for each in answer.entries if each.key <= until], until, more=False)
