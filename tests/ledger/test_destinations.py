"""Outputs never meet: a destination belongs to one item, whichever batch comes first."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import finish_planning, read_batch
from ittybatch.ledger.control import cancel_batch, hold_batch
from ittybatch.ledger.counters import recount
from ittybatch.ledger.models import Item as ItemRow
from ittybatch.ledger.models import Job
from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.results import reject_rows
from ittybatch.ledger.retrying import RetryFilter, ended_jobs
from ittybatch.ledger.settlement import settle
from ittybatch.ledger.states import JobState
from ittybatch.ledger.submission import claim_due
from ittybatch.profiles import Item, Profile
from tests.ledger import library

BY_KEY = Profile.from_mapping(
    {
        "name": "p",
        "renditions": [
            {"name": "sd", "kind": "video", "destination": "s3://out/{key}/{rendition}.{ext}"}
        ],
    }
)


def _page(*items: Item, profile: Profile = BY_KEY, cursor: str = "end") -> PlannedPage:
    planned = [PlannedItem(item, profile.jobs_for(item)) for item in items]
    return PlannedPage(planned, [], {"found": len(items)}, cursor)


def _plan(ledger: Ledger, *pages: PlannedPage) -> str:
    """A batch of these pages, planned to the end."""
    batch = library.new_batch(ledger).id
    after = None
    for number, page in enumerate(pages):
        each = replace(page, cursor=str(number))
        ledger.write(plan_page, batch, each, after=after, chunk_size=100)
        after = each.cursor
    ledger.write(finish_planning, batch)
    return batch


def _counts(ledger: Ledger, batch: str) -> tuple[int, int]:
    counts = ledger.read(read_batch, batch).counts
    return counts.get("jobs", 0), counts.get("same_destination", 0)


def _reasons(ledger: Ledger, batch: str) -> list[str]:
    return [row["reason"] for row in ledger.read(reject_rows, batch)]


def _made(ledger: Ledger, batch: str) -> list[str]:
    return [row.input for row in library.rows(ledger, batch)]


def _send(ledger: Ledger, batch: str, *outcomes: Any) -> None:  # noqa: ANN401  outcomes of a job
    library.accept(ledger, ledger.write(claim_due, library.released_chunk(ledger, batch), 100))
    ledger.write(settle, list(outcomes))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("s3://media/x/c.mov", "s3://media/x//c.mov"),
        ("s3://media/x/c.mov", "s3://media//x/c.mov"),
        ("s3://media/a\\b.mov", "s3://media/a_b.mov"),
        ("s3://media/c.mov", "s3://other/c.mov"),
        ("https://one.test/c.mov", "https://two.test/c.mov"),
        ("https://cdn.test/c.mov?v=1", "https://cdn.test/c.mov?v=2"),
        ("https://cdn.test/c.mov", "https://cdn.test/c.mov#t=9"),
        ("s3://media/c.mov", "https://cdn.test/c.mov"),
    ],
)
def test_of_two_items_of_one_destination_the_later_is_refused(
    ledger: Ledger, first: str, second: str
) -> None:
    """Both are named, and nothing is paid for twice: in a page, in the next, in another batch."""
    one, two = Item(first, line=1), Item(second, line=2)
    together = _plan(ledger, _page(one, two))
    assert _counts(ledger, together) == (1, 1)
    assert _made(ledger, together) == [first]
    [reason] = _reasons(ledger, together)
    assert one.shown in reason
    assert two.shown in reason
    assert "{item}" in reason
    later = _plan(ledger, _page(two))
    assert _counts(ledger, later) == (0, 1)
    assert together in _reasons(ledger, later)[0]


def test_the_next_page_is_held_against_the_one_before(ledger: Ledger) -> None:
    """Each rendition counts; an item is named once."""
    profile = Profile.from_mapping(
        {
            "name": "p",
            "renditions": [
                {"name": "sd", "kind": "video", "destination": "s3://out/{stem}.mp4"},
                {"name": "mp3", "kind": "audio", "destination": "s3://out/{stem}.mp3"},
                {"name": "own", "kind": "image", "options": {"format": "jpeg"}},
            ],
        }
    )
    pages = [_page(Item(f"s3://media/{folder}/c.mov"), profile=profile) for folder in "ab"]
    batch = _plan(ledger, *pages)
    assert _counts(ledger, batch) == (4, 2)
    assert [row.rendition for row in library.rows(ledger, batch)] == ["sd", "mp3", "own", "own"]
    [reason] = _reasons(ledger, batch)
    assert "s3://media/a/c.mov" in reason
    assert "s3://media/b/c.mov" in reason
    assert ledger.read(read_batch, batch).counts["rejected"] == 1
    assert ledger.write(recount, batch) == []


def test_a_changed_object_writes_its_own_destination_again(ledger: Ledger) -> None:
    """Whether another batch made the version before, has it in flight, or this one has it."""
    name = "s3://media/c.mov"
    first = _plan(ledger, _page(Item(name, fingerprint="1")))
    _send(ledger, first, library.remote("task-0"))
    versions = [_page(Item(name, fingerprint=version)) for version in ("2", "3")]
    second = _plan(ledger, *(replace(page, versions=True) for page in versions))
    assert _counts(ledger, second) == (2, 0)
    assert _counts(ledger, _plan(ledger, _page(Item(name, fingerprint="4")))) == (1, 0)


@pytest.mark.parametrize("fingerprint", ["2", None])
@pytest.mark.parametrize("together", [True, False])
def test_a_source_listed_with_two_fingerprints_is_made_once(
    ledger: Ledger, fingerprint: str | None, together: bool
) -> None:
    """A list is no queue: which of the two is the newer one, nobody knows."""
    items = [Item("s3://media/c.mov", fingerprint=each, line=1) for each in ("1", fingerprint)]
    pages = [_page(*items)] if together else [_page(item) for item in items]
    batch = _plan(ledger, *pages)
    assert _counts(ledger, batch) == (1, 1)
    [reason] = _reasons(ledger, batch)
    assert "the output of the same source with another fingerprint (line 1)" in reason
    assert "List each source once" in reason


def test_a_url_that_is_signed_anew_is_the_same_item(ledger: Ledger) -> None:
    """Its fingerprint says what it holds, its signature does not."""
    first, second = (
        Item(f"https://cdn.test/c.mov?X-Amz-Signature={number}", fingerprint=str(number), line=1)
        for number in range(2)
    )
    _send(ledger, _plan(ledger, _page(first)), library.remote("task-0"))
    assert _counts(ledger, _plan(ledger, _page(second))) == (1, 0)
    # Side by side in one source they are two.
    third, fourth = (replace(each, fingerprint=f"{each.fingerprint}b") for each in (first, second))
    assert _counts(ledger, _plan(ledger, _page(third, fourth))) == (1, 1)


def test_changed_options_write_the_same_destination_again(ledger: Ledger) -> None:
    """Another profile for the same item replaces its output; twice in one batch it does not."""
    name = Item("s3://media/c.mov", fingerprint="1")
    smaller = Profile.from_mapping(
        {
            "name": "q",
            "renditions": [{**BY_KEY.renditions[0].model_dump(), "options": {"height": 240}}],
        }
    )
    _send(ledger, _plan(ledger, _page(name)), library.remote("task-0"))
    assert _counts(ledger, _plan(ledger, _page(name, profile=smaller))) == (1, 0)
    other = replace(name, fingerprint="2")
    both = _plan(ledger, _page(other), _page(other, profile=smaller))
    assert _counts(ledger, both) == (1, 1)


def test_the_same_job_again_is_no_collision(ledger: Ledger) -> None:
    """It is done before, in flight or a duplicate, as ever."""
    name = Item("s3://media/c.mov", fingerprint="1")
    first = _plan(ledger, _page(name, name), _page(name))
    assert ledger.read(read_batch, first).counts["duplicates"] == 2
    assert _counts(ledger, first) == (1, 0)
    again = _plan(ledger, _page(name))
    assert ledger.read(read_batch, again).counts["in_flight_elsewhere"] == 1
    assert _counts(ledger, again) == (0, 0)


def test_outputs_in_ittybits_own_store_never_meet(ledger: Ledger) -> None:
    """Each gets a place of its own there."""
    profile = Profile.from_mapping({"name": "p", "renditions": [{"name": "sd", "kind": "video"}]})
    items = [Item(f"s3://media/{name}") for name in ("x/c.mov", "x//c.mov")]
    assert _counts(ledger, _plan(ledger, _page(*items, profile=profile))) == (2, 0)


def test_destinations_that_differ_in_case_are_two(ledger: Ledger) -> None:
    """To S3 they are."""
    items = [Item(f"s3://media/{name}.mov") for name in ("Clip", "clip")]
    assert _counts(ledger, _plan(ledger, _page(*items))) == (2, 0)


def test_what_wrote_nothing_leaves_its_destination_to_others(ledger: Ledger) -> None:
    """A failed job and a cancelled batch; an expired job may still write."""
    one, two = Item("s3://media/x/c.mov"), Item("s3://media/x//c.mov")
    first = _plan(ledger, _page(one))
    _send(ledger, first, library.failed("task-0", "invalid_input", "could not decode"))
    second = _plan(ledger, _page(two))
    assert _counts(ledger, second) == (1, 0)
    # Now the first item's place is taken: neither a retry nor a new version may write there.
    [ended] = ledger.read(ended_jobs, RetryFilter(first, ["failed"]), after=0, limit=10)
    retry = replace(_page(one), items=[PlannedItem(ended.item, [ended.job])], again=[ended.id])
    third = _plan(ledger, retry)
    assert _counts(ledger, third) == (0, 1)
    claim = select(Job.claim).where(Job.id == ended.id)
    assert ledger.read(lambda tx: tx.execute(claim).scalar_one()), "what is not made stays held"
    ledger.write(cancel_batch, second, "Not wanted.")
    assert _counts(ledger, _plan(ledger, replace(retry, cursor="again"))) == (1, 0)


def test_what_a_held_batch_planned_keeps_its_destination(ledger: Ledger) -> None:
    """It may be resumed. Its own item may be taken over, and then has the destination here."""
    one, two = Item("s3://media/x/c.mov"), Item("s3://media/x//c.mov")
    held = _plan(ledger, _page(one))
    ledger.write(hold_batch, held, "Paused.")
    batch = _plan(ledger, _page(two, one))
    assert _counts(ledger, batch) == (1, 1)
    assert _made(ledger, batch) == [one.uri]
    assert [row.state for row in library.rows(ledger, held)] == [JobState.CANCELLED]


def test_a_url_of_the_message_keeps_its_signature_to_itself(ledger: Ledger) -> None:
    """Rejects are files that people pass on; the line tells such items apart."""
    items = [Item(f"https://me:pw@cdn.test/c.mov?sig=s3cr3t{n}", line=n) for n in (4, 9)]
    [reason] = _reasons(ledger, _plan(ledger, _page(*items)))
    assert "s3cr3t" not in reason
    assert "pw" not in reason
    assert "line 4" in reason


def test_ledgers_items_are_found_by_their_destination_through_an_index(ledger: Ledger) -> None:
    """A ledger of millions is not read for each page."""
    _plan(ledger, _page(*(Item(f"s3://media/{n}.mov") for n in range(50))))
    explain = "EXPLAIN" if ledger.engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"

    def plan(tx: Any) -> str:  # noqa: ANN401  a transaction
        if explain == "EXPLAIN":
            tx.connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        query = (
            "SELECT id FROM jobs WHERE destination = 's3://out/1.mov/sd.mp4' AND claim IS NOT NULL"
        )
        return str(tx.connection.exec_driver_sql(f"{explain} {query}").all())

    assert "ix_jobs_destination" in ledger.read(plan)
    assert ledger.read(lambda tx: len(tx.rows(select(ItemRow.uri)))) == 50
