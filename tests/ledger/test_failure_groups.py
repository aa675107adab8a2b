"""Failures by reason: counted in a bounded window, with what a later batch has taken up."""

from ittybatch.ledger import Ledger
from ittybatch.ledger.failure_groups import failure_groups
from ittybatch.ledger.settlement import settle
from tests.ledger import library


def failed(ledger: Ledger, name: str, *messages: str) -> str:
    """A batch whose jobs failed, each with one of these messages."""
    chunk, submissions = library.claimed(
        ledger, *(library.job(f"{name}/{n}.mov") for n in range(len(messages)))
    )
    library.accept(ledger, submissions, prefix=name)
    ended = [library.failed(f"{name}-{n}", "x", f"no such {m}") for n, m in enumerate(messages)]
    ledger.write(settle, ended)
    return library.place(ledger, chunk).batch_id


def test_failures_are_grouped_by_what_their_messages_share(ledger: Ledger) -> None:
    """The most frequent first, with its newest example and times."""
    batch = failed(ledger, "a", "key: a/1.mov", "codec", "key: b/2.mov", "key: c/3.mov")
    found = ledger.read(failure_groups, batch)
    assert [(each.reason, each.jobs) for each in found.groups] == [
        ("no such key: …", 3),
        ("no such codec", 1),
    ]
    assert (found.looked_at, found.total, found.complete) == (4, 4, True)
    group = found.groups[0]
    assert {each.uri for each in group.examples} == {f"s3://media/a/{n}.mov" for n in (0, 2, 3)}
    assert group.first_at is not None
    assert group.last_at is not None
    assert group.first_at <= group.last_at <= found.at
    assert group.left == {"video": 3}
    assert (group.said, group.differ) == (group.error_message, True)
    assert group.said in {f"no such key: {name}.mov" for name in ("a/1", "b/2", "c/3")}
    assert (found.groups[1].said, found.groups[1].differ) == ("no such codec", False)


def test_a_window_says_that_it_is_one(ledger: Ledger) -> None:
    """A batch may have a million failures; a page looks at the newest."""
    batch = failed(ledger, "b", *(f"key: {n}" for n in range(12)))
    found = ledger.read(failure_groups, batch, 5)
    assert (found.looked_at, found.total, found.complete) == (5, 12, False)


def test_a_batch_without_failures_has_no_groups(ledger: Ledger) -> None:
    """A job that waits for its next attempt has not failed, although it has an error."""
    chunk, submissions = library.claimed(ledger, library.job("c.mov"))
    library.accept(ledger, submissions, prefix="c")
    ledger.write(settle, [library.failed("c-0")])
    found = ledger.read(failure_groups, library.place(ledger, chunk).batch_id)
    assert (found.groups, found.total, found.complete) == ([], 0, True)
