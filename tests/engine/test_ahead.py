"""Pages are read while earlier ones are committed."""

import gc
import sys
import threading
from collections.abc import Generator

import pytest

from ittybatch.engine.ahead import bulk_work, read_ahead


def test_the_next_page_is_made_while_the_last_is_used() -> None:
    """One, and no more than one: memory stays flat."""
    made: list[int] = []
    second = threading.Event()

    def pages() -> Generator[int]:
        for number in range(4):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    given = read_ahead(pages())
    assert next(given) == 0
    assert second.wait(10)
    assert made == [0, 1]
    assert list(given) == [1, 2, 3]


def test_an_error_comes_after_the_pages_before_it() -> None:
    """They are committed before the batch is held."""

    def pages() -> Generator[int]:
        yield 1
        raise ValueError("broken")

    given = read_ahead(pages())
    assert next(given) == 1
    with pytest.raises(ValueError, match="broken"):
        next(given)


def test_whoever_stops_leaves_no_thread_and_no_open_source() -> None:
    """A scan that is cancelled closes its file."""
    closed = threading.Event()

    def pages() -> Generator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    given = read_ahead(pages())
    assert next(given) == 1
    given.close()
    assert closed.is_set()
    assert not [each for each in threading.enumerate() if each.name.startswith("read-ahead")]


def test_the_interpreter_is_left_as_it_was() -> None:
    """Also after an error."""
    before = gc.get_threshold(), sys.getswitchinterval()
    with pytest.raises(ValueError, match="broken"), bulk_work():
        raise ValueError("broken")
    assert (gc.get_threshold(), sys.getswitchinterval()) == before
