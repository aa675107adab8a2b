"""Marks: our jobs are recognised by metadata that no user's pairs can meet."""

from typing import Any

import pytest

from ittybatch.ittybit.marks import PREFIX, Mark, marked_metadata
from ittybatch.profiles.rendition import check_metadata_name

MARK = Mark("20261121-101500-aaaaaa", "0" * 32, 2)


def _marked(own: dict[str, Any]) -> dict[str, Any]:
    return marked_metadata(own, MARK, item=7, rendition="sd", bucket="media", key="a.mov")


def test_a_mark_is_read_back_from_what_is_sent() -> None:
    """Beside the user's own pairs, which stay as they are."""
    own = {"job_id": "row-1", "batch_id": "theirs", "attempt": "7", "show": "Pilot"}
    sent = _marked(own)
    assert Mark.read(sent) == MARK
    assert sent.items() >= own.items()


def test_every_value_is_text() -> None:
    """A service that keeps only text echoes it unchanged."""
    assert {type(value) for value in _marked({}).values()} == {str}


@pytest.mark.parametrize("attempt", [2, "2"])
def test_the_names_of_earlier_versions_are_still_read(attempt: object) -> None:
    """Their jobs may be in flight while ittybatch is upgraded."""
    metadata = {"batch_id": MARK.batch_id, "job_id": MARK.job_key, "attempt": attempt}
    assert Mark.read(metadata) == MARK


def test_ours_outrank_a_users_pairs_of_the_old_names() -> None:
    """A manifest made from an old report may carry the marks of another job."""
    stale = {"batch_id": "20250101-000000-bbbbbb", "job_id": "f" * 32, "attempt": "1"}
    assert Mark.read(_marked(stale)) == MARK
    assert Mark.read({**stale, f"{PREFIX}attempt": "1"}) is None, "half a mark is none"


@pytest.mark.parametrize("value", [None, "", "x", -1, 0, 10**30, 1e999, float("nan"), [1], {}])
def test_an_attempt_that_cannot_be_ours_makes_no_mark(value: object) -> None:
    """Whatever type it comes as."""
    assert Mark.read({**_marked({}), f"{PREFIX}attempt": value}) is None


@pytest.mark.parametrize("value", [None, 1, "\0", "x" * 65, "\ud83d", []])
def test_a_name_that_cannot_be_ours_makes_no_mark(value: object) -> None:
    """Postgres would refuse some of them, and everything in the same transaction."""
    for name in ("batch_id", "job_key"):
        assert Mark.read({**_marked({}), f"{PREFIX}{name}": value}) is None


@pytest.mark.parametrize("name", [f"{PREFIX}job_key", "ITTYBATCH_x", f"{PREFIX}anything"])
def test_a_user_cannot_take_a_name_of_ours(name: str) -> None:
    """It is refused where a profile is loaded or a row is read, by its name."""
    with pytest.raises(ValueError, match=name):
        check_metadata_name(name)
