"""Reading ahead: the next page is read while the last one is committed."""

import gc
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")

# A page is tens of thousands of objects without a cycle among them. By its own rule the
# collector would walk through them again and again, for a third of all the time.
_OBJECTS_A_COLLECTION = 50_000
# For the thread that commits it takes this long to get the interpreter back from the one that
# reads, a dozen times a page.
_SWITCH_S = 0.0005


def read_ahead(pages: Generator[T, None, None]) -> Generator[T, None, None]:
    """Give what a generator gives, with the next one being made meanwhile in a thread.

    An error is raised where the page would have come: those before it are given first.
    """
    end = object()
    with closing(pages), ThreadPoolExecutor(1, "read-ahead") as thread:
        coming = thread.submit(next, pages, end)
        while (page := coming.result()) is not end:
            coming = thread.submit(next, pages, end)
            yield page  # type: ignore[misc]  # mypy does not see that it is not the end


@contextmanager
def bulk_work() -> Iterator[None]:
    """Set the interpreter up for a great many objects, and two threads that share it."""
    thresholds, switch_s = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(_OBJECTS_A_COLLECTION, *thresholds[1:])
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(switch_s)
