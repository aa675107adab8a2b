"""Actions: who asked for what, and what came of it."""

from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import Via, read_action, recent_actions, record_action


def _record(ledger: Ledger, **changes: object) -> int:
    given = {"actor": "ann", "via": Via.PAGE, "action": "pause", "outcome": "Batch b1 is held."}
    return ledger.write(record_action, **{**given, **changes})  # type: ignore[arg-type]


def test_an_action_is_kept_with_who_asked_and_what_came_of_it(ledger: Ledger) -> None:
    number = _record(ledger, batch="b1", details={"max_active_chunks": 8, "name": None})
    found = ledger.read(read_action, number)
    assert found is not None
    assert (found.actor, found.via, found.action) == ("ann", Via.PAGE, "pause")
    assert (found.batch_id, found.outcome) == ("b1", "Batch b1 is held.")
    assert found.details == {"max_active_chunks": 8, "name": None}
    assert not found.refused
    assert abs((ledger.read(lambda tx: tx.now) - found.at).total_seconds()) < 60
    assert ledger.read(read_action, number + 1) is None


def test_the_newest_come_first_a_page_at_a_time_and_for_one_batch(ledger: Ledger) -> None:
    numbers = [_record(ledger, batch=f"b{number % 2}") for number in range(5)]
    first = ledger.read(recent_actions, limit=3)
    assert [each.id for each in first] == numbers[:1:-1]
    rest = ledger.read(recent_actions, before=first[-1].id, limit=3)
    assert [each.id for each in rest] == numbers[1::-1]
    of_batch = ledger.read(recent_actions, batch="b1")
    assert [each.id for each in of_batch] == [numbers[3], numbers[1]]


def test_a_refused_action_is_kept_too(ledger: Ledger) -> None:
    number = _record(ledger, outcome="Batch b1 has ended already.", refused=True, batch="no such")
    found = ledger.read(read_action, number)
    assert found is not None
    assert found.refused


def test_no_secret_and_no_long_text_is_kept(ledger: Ledger) -> None:
    """Whatever a form held: a signed URL, a NUL, a megabyte."""
    signed = "https://cdn.test/a.mov?X-Amz-Signature=abc"
    number = _record(
        ledger,
        actor="a" * 1000,
        outcome=f"Took {signed}\x00",
        details={
            "source": signed,
            "files": ["s3://AKIA:hidden-word@bucket/a.mov"],
            "text": "x" * 1_000_000,
            **{f"field {index}": index for index in range(100)},
        },
    )
    found = ledger.read(read_action, number)
    assert found is not None
    assert "abc" not in f"{found.outcome} {found.details}"
    assert "hidden-word" not in f"{found.details}"
    assert "\x00" not in found.outcome
    assert len(found.actor) == 200
    assert len(found.details) == 30
    assert len(found.details["text"]) == 500
