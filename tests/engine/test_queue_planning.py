"""A queue planned into the ledger: messages are deleted once their page is committed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ittybatch.engine import planning
from ittybatch.engine.planning import plan_batch, preview
from ittybatch.engine.scope import settle
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import OpenBatch, open_batch, read_batch
from ittybatch.sources import QueueSource, queue

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

PROFILE = """
name: web
renditions:
  - name: poster
    kind: image
    options: { format: webp }
    destination: s3://out/{key}.webp
"""


class Uploads:
    """A queue of events, and the folder of profiles that batches of it use."""

    def __init__(self, client: "SQSClient", url: str, profiles: Path) -> None:
        self._client = client
        self.profiles = profiles
        self.url = url
        self.source = QueueSource(queue_url=url, uri="s3://media/in/")

    def send(self, *keys: str, etag: str = "1") -> None:
        for key in keys:
            found = {"bucket": {"name": "media"}, "object": {"key": key, "eTag": etag, "size": 5}}
            body = {"Records": [{"eventName": "ObjectCreated:Put", "s3": found}]}
            self._client.send_message(QueueUrl=self.url, MessageBody=json.dumps(body))

    @property
    def waiting(self) -> int:
        found = self._client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        counts = found["Attributes"]
        return int(counts["ApproximateNumberOfMessages"]) + int(
            counts["ApproximateNumberOfMessagesNotVisible"]
        )

    def opened(self, ledger: Ledger) -> OpenBatch:
        source, profile = settle(ledger, self.source, "web", self.profiles)
        return ledger.write(
            open_batch,
            flow_run_id=None,
            deployment_id=None,
            name="drain",
            source=source.model_dump(mode="json", exclude_none=True),
            profile=profile.model_dump(mode="json"),
            options={},
        )

    def planned(self, ledger: Ledger, batch: OpenBatch) -> dict[str, int]:
        return dict(plan_batch(ledger, batch, self.source, self.profiles, chunk_size=10).counts)


@pytest.fixture
def uploads(
    sqs: "SQSClient", queue_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Uploads:
    """An empty queue of the test's own."""
    monkeypatch.setattr(queue, "EMPTY_AFTER_S", 0)
    monkeypatch.setattr(planning, "PAGE_SIZE", 10)
    (tmp_path / "web.yaml").write_text(PROFILE, encoding="utf-8")
    return Uploads(sqs, queue_url, tmp_path)


def test_a_drained_queue_is_empty_and_its_jobs_are_planned(
    ledger: Ledger, uploads: Uploads
) -> None:
    """All of its pages."""
    uploads.send(*(f"in/{number}.mov" for number in range(25)))
    counts = uploads.planned(ledger, uploads.opened(ledger))
    assert (counts["found"], counts["jobs"]) == (25, 25)
    assert uploads.waiting == 0


def test_a_plan_takes_nothing(ledger: Ledger, uploads: Uploads) -> None:
    """A batch after it finds every message."""
    uploads.send("in/a.mov", "in/b.mov")
    _, profile = settle(ledger, uploads.source, "web", uploads.profiles)
    assert preview(ledger, uploads.source, profile, uploads.profiles).counts["jobs"] == 2
    assert uploads.planned(ledger, uploads.opened(ledger))["jobs"] == 2


def test_a_crash_before_the_commit_loses_nothing(
    ledger: Ledger, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messages come again."""
    uploads.send(*(f"in/{number}.mov" for number in range(15)))
    batch = uploads.opened(ledger)
    with monkeypatch.context() as patch:
        patch.setattr(planning, "plan_page", _crash)
        with pytest.raises(RuntimeError, match="crashed"):
            uploads.planned(ledger, batch)
    assert uploads.waiting == 15
    assert uploads.planned(ledger, batch)["jobs"] == 15


def test_a_crash_after_the_commit_pays_for_nothing_twice(
    ledger: Ledger, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messages come again, and their jobs are there already."""
    uploads.send("in/a.mov", "in/b.mov")
    batch = uploads.opened(ledger)
    with monkeypatch.context() as patch:
        patch.setattr(planning, "_acknowledge", _crash)
        with pytest.raises(RuntimeError, match="crashed"):
            uploads.planned(ledger, batch)
    assert uploads.waiting == 2
    counts = uploads.planned(ledger, ledger.read(read_batch, batch.id))
    assert (counts["jobs"], counts["duplicates"]) == (2, 2)
    assert uploads.waiting == 0
    uploads.send("in/a.mov")
    assert uploads.planned(ledger, uploads.opened(ledger))["in_flight_elsewhere"] == 1


def test_a_page_that_the_ledger_passes_over_is_not_deleted(
    ledger: Ledger, uploads: Uploads
) -> None:
    """Another leg of the batch has committed one of its own: this one's messages come again."""
    stale = uploads.opened(ledger)
    uploads.send("in/a.mov")
    uploads.planned(ledger, stale)
    uploads.send("in/b.mov", "in/c.mov")
    uploads.planned(ledger, stale)
    assert uploads.waiting == 2


def _crash(*_: object, **__: object) -> None:
    raise RuntimeError("crashed")


def test_both_versions_of_an_object_are_made_if_the_queue_delivers_both(
    ledger: Ledger, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer one replaces the output of the older; a preview says so, too."""
    monkeypatch.setattr(planning, "PAGE_SIZE", 1)
    for etag in "12":
        uploads.send("in/a.mov", etag=etag)
    source, profile = settle(ledger, uploads.source, "web", uploads.profiles)
    assert preview(ledger, source, profile, uploads.profiles).counts["jobs"] == 2
    assert uploads.planned(ledger, uploads.opened(ledger))["jobs"] == 2
