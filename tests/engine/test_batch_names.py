"""A batch that nobody has named is named for what it makes."""

from typing import Any

import pytest

from ittybatch.engine.naming import default_batch_name
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import UnknownBatch, open_batch
from ittybatch.ledger.database import create_ledger_engine
from tests.ledger import library


def _named(ledger: Ledger, name: str) -> str:
    return ledger.write(
        open_batch,
        flow_run_id=None,
        deployment_id=None,
        name=name,
        source={"type": "bucket", "uri": "s3://media/"},
        profile=library.PROFILE,
        options={},
    ).id


@pytest.mark.parametrize(
    ("source", "deployment", "name"),
    [
        ({"type": "bucket", "uri": "s3://media/2026/library/"}, "adhoc", "library, web"),
        ({"type": "bucket", "uri": "s3://media/"}, "adhoc", "media, web"),
        ({"type": "bucket", "uri": "s3://media/"}, None, "media, web"),
        ({"type": "bucket", "uri": "s3://media/"}, "nightly", "nightly"),
        (
            {"type": "manifest", "uri": "https://cdn.test/spring.csv?X-Amz-Signature=abc"},
            "adhoc",
            "spring.csv, web",
        ),
        (
            {"type": "sql", "database": "postgresql://me:secret@db.test/films"},
            "adhoc",
            "query of db.test/films, web",
        ),
        ({"type": "items"}, "adhoc", "web"),
        ({"type": "failed", "batch": "all"}, "retry-failed", "retry of all batches"),
    ],
)
def test_the_default_name_tells_source_and_profile(
    sqlite_url: str, source: dict[str, Any], deployment: str | None, name: str
) -> None:
    """A deployment that somebody has named keeps its name. No name tells a secret."""
    ledger = Ledger(create_ledger_engine(sqlite_url))
    assert ledger.read(default_batch_name, source, "web", deployment) == name
    ledger.close()


def test_retries_are_named_for_what_they_retry_and_counted(ledger: Ledger) -> None:
    """So that four of them do not all look alike, nor grow with each."""
    name = "Summer campaign"
    for wanted in (
        "retry of Summer campaign",
        "retry 2 of Summer campaign",
        "retry 3 of Summer campaign",
    ):
        source = {"type": "failed", "batch": _named(ledger, name)}
        name = ledger.read(default_batch_name, source, "web", "retry-failed")
        assert name == wanted
    source = {"type": "failed", "batch": _named(ledger, "long " * 20)}
    assert len(ledger.read(default_batch_name, source, "web", "retry-failed")) < 102
    with pytest.raises(UnknownBatch):
        ledger.read(default_batch_name, {"type": "failed", "batch": "gone"}, "web", None)
