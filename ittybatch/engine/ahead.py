"""Reading ahead: read the next page while the last one is committed."""

import gc
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")

# A page is tens of thousands of objects without a cycle. With its default thresholds the garbage
# collector would take a third of the time.
_OBJECTS_PER_COLLECTION = 50_000
# The thread that commits waits this long for the GIL while the other one reads, a dozen times
# per page.
_SWITCH_S = 0.0005


def read_ahead(pages: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield what a generator yields, and prepare the next item in a thread meanwhile.

    An error is raised in the item's place, after all items before it.
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
