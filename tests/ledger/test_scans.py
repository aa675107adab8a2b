"""From when on a source may hold something that no earlier scan has dealt with."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import finish_planning, open_batch
from ittybatch.ledger.models import Batch, Chunk, Job
from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.scans import seen_until
from ittybatch.profiles import Item, JobSpec

SOURCE: dict[str, Any] = {"type": "bucket", "uri": "s3://media/in/", "since_last_scan": True}
PROFILE = {"name": "web", "renditions": []}
NIGHT = datetime(2026, 1, 1, 2, tzinfo=UTC)


def scan(
    ledger: Ledger,
    night: int,
    *keys: str,
    source: dict[str, Any] = SOURCE,
    profile: dict[str, Any] = PROFILE,
    done: bool = True,
    state: str = "succeeded",
    archived: int = 0,
) -> str:
    """A batch of a night, with a job in this state for each key."""
    batch = ledger.write(
        open_batch,
        flow_run_id=None,
        deployment_id=None,
        name="nightly",
        source=source,
        profile=profile,
        options={},
    ).id
    items = [PlannedItem(Item(f"s3://media/in/{key}", "1"), [job(key)]) for key in keys]
    page = PlannedPage(items, [], {"filtered:archived": archived}, "end")
    ledger.write(plan_page, batch, page, after=None, chunk_size=100)
    if done:
        ledger.write(finish_planning, batch)
    ledger.write(_end, batch, NIGHT + timedelta(days=night), state)
    return batch


def job(key: str) -> JobSpec:
    return JobSpec(
        rendition="poster",
        kind=Kind.IMAGE,
        input=f"s3://media/in/{key}",
        options={},
        destination=None,
        metadata={},
        attempts=1,
        deadline_s=3600,
        backoff_s=30,
        job_key=key.ljust(32, "0"),
    )


def _end(transaction: Transaction, batch: str, at: datetime, state: str) -> None:
    """Let a batch have begun at a time, and its jobs have ended in a state."""
    transaction.execute(update(Batch).where(Batch.id == batch).values(created_at=at))
    chunks = [row.id for row in transaction.rows(select(Chunk.id).where(Chunk.batch_id == batch))]
    released = {"claim": None} if state in {"failed", "cancelled"} else {}
    transaction.execute(update(Job).where(Job.chunk_id.in_(chunks)).values(state=state, **released))
    counter = {"submitted": "in_flight"}.get(state, state)
    counters = {"planned": 0, counter: Chunk.items}
    transaction.execute(update(Chunk).where(Chunk.id.in_(chunks)).values(counters))


def seen(ledger: Ledger, **more: Any) -> datetime | None:  # noqa: ANN401 - any field
    return ledger.read(seen_until, {**SOURCE, **more}, PROFILE)


def since(night: int) -> dict[str, Any]:
    """The source of a scan that was itself only from a time on."""
    return {**SOURCE, "modified_since": (NIGHT + timedelta(days=night)).isoformat()}


def test_nothing_is_known_before_the_first_scan(ledger: Ledger) -> None:
    """Everything is to be listed."""
    assert seen(ledger) is None


def test_a_complete_scan_has_seen_all_that_was_there_at_its_beginning(ledger: Ledger) -> None:
    """The last one counts."""
    scan(ledger, 1, "a", "b")
    scan(ledger, 2, "c", source=since(0))
    assert seen(ledger) == NIGHT + timedelta(days=2)


def test_a_scan_that_was_not_complete_counts_for_nothing(ledger: Ledger) -> None:
    """It was held or cancelled before the end."""
    scan(ledger, 1, "a", done=False)
    assert seen(ledger) is None
    scan(ledger, 2, "b")
    scan(ledger, 3, "c", done=False)
    assert seen(ledger) == NIGHT + timedelta(days=2)


@pytest.mark.parametrize(
    "other",
    [{"uri": "s3://media/"}, {"suffixes": [".mov"]}, {"more_uris": ["s3://b/"]}],
)
def test_a_scan_of_something_else_counts_for_nothing(ledger: Ledger, other: dict[str, Any]) -> None:
    """Its filters left out what is wanted now."""
    scan(ledger, 1, "a", source={**SOURCE, **other})
    assert seen(ledger) is None


def test_a_scan_from_a_time_on_that_somebody_chose_counts_for_nothing(ledger: Ledger) -> None:
    """It has not seen what is older."""
    chosen = {**since(0), "since_last_scan": False}
    scan(ledger, 1, "a", source=chosen)
    assert seen(ledger) is None


def test_a_changed_profile_needs_everything_again(ledger: Ledger) -> None:
    """Its renditions are to be made of old objects, too."""
    scan(ledger, 1, "a", profile={**PROFILE, "renditions": [{"name": "poster"}]})
    assert seen(ledger) is None


@pytest.mark.parametrize("state", ["planned", "submitted", "failed", "cancelled"])
def test_what_is_still_to_be_done_is_listed_again(ledger: Ledger, state: str) -> None:
    """From where that scan had begun to look."""
    scan(ledger, 1, "a")
    scan(ledger, 2, "b", source=since(1), state=state)
    scan(ledger, 3, "c", source=since(2))
    assert seen(ledger) == NIGHT + timedelta(days=1)
    scan(ledger, 4, "d", state=state)
    assert seen(ledger) is None


def test_what_was_made_by_a_later_batch_is_done(ledger: Ledger) -> None:
    """A job that failed stays a row, but its key is held by another."""
    scan(ledger, 1, "a", state="failed")
    assert seen(ledger) is None
    scan(ledger, 2, "a", source={"type": "failed", "batch": "x"})
    assert seen(ledger) == NIGHT + timedelta(days=1)


def test_what_is_held_back_is_done(ledger: Ledger) -> None:
    """It would not be made again, if it were listed."""
    scan(ledger, 1, "a", state="expired")
    assert seen(ledger) == NIGHT + timedelta(days=1)


def test_what_was_left_to_another_batch_is_listed_until_nothing_is(ledger: Ledger) -> None:
    """That batch may be cancelled before it makes it."""
    scan(ledger, 1, "a")
    other = scan(ledger, 2, "b", source={**SOURCE, "suffixes": [".mov"]}, state="submitted")
    scan(ledger, 3, "b", source=since(1))
    scan(ledger, 4, "b", source=since(1))
    ledger.write(_cancelled, other)
    assert seen(ledger) == NIGHT + timedelta(days=1)
    scan(ledger, 5, "b", source=since(1))
    assert seen(ledger) == NIGHT + timedelta(days=5)


def _cancelled(transaction: Transaction, batch: str) -> None:
    chunks = select(Chunk.id).where(Chunk.batch_id == batch)
    transaction.execute(
        update(Job).where(Job.chunk_id.in_(chunks)).values(state="cancelled", claim=None)
    )
    transaction.execute(
        update(Chunk).where(Chunk.batch_id == batch).values(in_flight=0, cancelled=1)
    )


def test_archived_objects_are_looked_for_until_none_is_left(ledger: Ledger) -> None:
    """One that is restored keeps its time, so that only a whole listing finds it."""
    scan(ledger, 1, "a.mov", archived=2)
    assert ledger.read(seen_until, SOURCE, PROFILE) is None
    scan(ledger, 2, "b.mov")
    assert ledger.read(seen_until, SOURCE, PROFILE) == NIGHT + timedelta(days=2)


def test_other_wishes_about_litter_are_another_source(ledger: Ledger) -> None:
    """What was left out before has not been seen; a source of an earlier version wished nothing."""
    scan(ledger, 1, "a.mov")
    assert ledger.read(seen_until, {**SOURCE, "include": []}, PROFILE) is not None
    assert ledger.read(seen_until, {**SOURCE, "include": ["hidden"]}, PROFILE) is None
