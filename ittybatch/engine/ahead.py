"""Read ahead: read the next page while the previous one is committed."""

import gc
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")

# A page has tens of thousands of objects and no reference cycles. With the default thresholds,
# garbage collection would take a third of the time.
_OBJECTS_PER_COLLECTION = 50_000
# While the other thread reads, the committing thread waits this long for the GIL, a dozen times
# per page.
_SWITCH_S = 0.0005


def read_ahead(pages: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield the items of a generator, while a thread prepares the next one.

    If an item raises an error, it is raised after all earlier items were yielded.
    """
    end = object()
    with closing(pages), ThreadPoolExecutor(1, "read-ahead") as thread:
        coming = thread.submit(next, pages, end)
        while (page := coming.result()) is not end:
            coming = thread.submit(next, pages, end)
            yield page  # type: ignore[misc]  # mypy does not see that it is not the end


@contextmanager
def bulk_work() -> Iterator[None]:
    """Tune garbage collection and thread switching for many objects and two busy threads."""
    thresholds, switch_s = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *thresholds[1:])
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(switch_s)
