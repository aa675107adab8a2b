"""Malformed events: each is unreadable by itself, and what is accepted fits the ledger."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert

from ittybatch.intake.declared import Declared
from ittybatch.intake.events import wanted_of
from ittybatch.ledger import Ledger, Transaction, models
from ittybatch.profiles import Item
from ittybatch.sources.event import Event, UnreadableError, read_message
from tests.ledger import library
from tests.sources.messages import bridge_event, record, s3_event, through_sns

DECLARED = Declared.model_validate({"buckets": [{"bucket": "media", "profile": "web"}]})
# Text that no database can compress: a limit of an index would show.
LONG = "".join(random.Random(7).choices("abcdefghij", k=10_000))
VALUES: list[Any] = [
    [], {}, [{}], {"a": []}, None, True, False, 0, -1, 1e30, 2.5, 2**63, 2**70, 10**5000, "", "-1",
    str(2**63), "1e400", "x" * 10_000, LONG, "a\0b", "a\nb", "\ud800", float("nan"), float("inf"),
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
]  # fmt: skip
FORMS = {
    "EventBridge": bridge_event("in/a.mov"),
    "EventBridge, deleted": bridge_event("in/a.mov", "Object Deleted"),
    "S3": s3_event(record("in/a.mov", versionId="v1")),
    "SNS": through_sns(s3_event(record("in/a.mov"))),
}


def mutants(content: Any) -> Iterator[Any]:  # noqa: ANN401 - JSON
    """The same JSON with each of its values replaced by each of `VALUES`."""
    for path in paths(content):
        for value in VALUES:
            changed = copy.deepcopy(content)
            place = changed
            for name in path[:-1]:
                place = place[name]
            place[path[-1]] = value
            yield changed


def paths(content: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    """Where the values of a JSON document are."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in pairs:
        yield (name,)
        if isinstance(value, dict | list):
            yield from ((name, *rest) for rest in paths(value))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("versioned", [False, True])
def test_whatever_an_event_holds_it_is_accepted_or_unreadable(form: str, versioned: bool) -> None:
    """Nothing else is raised: an error would stop the queue that the message came from."""
    for content in mutants(json.loads(FORMS[form])):
        for found in read_message(content, versioned=versioned):
            assert isinstance(found, Event | str | UnreadableError)


def test_every_accepted_event_fits_the_ledger(ledger: Ledger) -> None:
    """A row that the database refuses would be a 500, which EventBridge repeats for a day."""
    items = [
        wanted.item
        for form in FORMS.values()
        for content in mutants(json.loads(form))
        for wanted in wanted_of(content, DECLARED).wanted
    ]
    assert len(items) > 100
    _, chunk = library.planned_chunk(ledger, "a.mov")

    def insert_all(transaction: Transaction) -> None:
        transaction.execute(
            insert(models.Item), [_row(chunk, number, each) for number, each in enumerate(items, 1)]
        )

    ledger.write(insert_all)


def _row(chunk: int, number: int, item: Item) -> dict[str, Any]:
    return {
        "chunk_id": chunk,
        "number": number,
        "uri": item.uri,
        "fingerprint": item.fingerprint,
        "size_bytes": item.size_bytes,
        "modified_at": item.modified_at,
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size": []}, "has '[]' as the object's size"),
        ({"size": -1}, "has '-1' as the object's size"),
        ({"size": True}, "has 'True' as the object's size"),
        ({"size": 2**63}, "has '9223372036854775808' as the object's size"),
        ({"eTag": ["e1"]}, "has no text in `s3.object.eTag`"),
        ({"eTag": "e\0"}, "has an invisible character in `s3.object.eTag`"),
        ({"sequencer": {}}, "has no text in `s3.object.sequencer`"),
    ],
)
def test_the_reason_names_the_field(changes: dict[str, Any], reason: str) -> None:
    [found] = read_message(s3_event(record("in/a.mov", **changes)), versioned=False)
    assert isinstance(found, UnreadableError)
    assert str(found).startswith(reason)


def test_a_kind_that_is_no_text_is_unreadable() -> None:
    content = {**json.loads(bridge_event("in/a.mov")), "detail-type": ["Object Created"]}
    [found] = read_message(content, versioned=False)
    assert str(found) == "has no text in `detail-type`"
