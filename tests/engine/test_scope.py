"""What a source means at the beginning of a batch."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ittybatch.engine.scope import settle
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import finish_planning, open_batch
from ittybatch.profiles import DestinationOverlap, Profile
from ittybatch.sources import BucketSource, FailedJobsSource, QueueSource, Source, SourceError

PROFILE = """
name: web
renditions:
  - name: poster
    kind: image
    options: {{format: webp}}
    destination: "{destination}"
"""
QUEUE = "https://sqs.eu-west-1.amazonaws.com/1/uploads"


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    """A folder with a profile whose outputs go to another bucket."""
    text = PROFILE.format(destination="s3://out/{key}/{rendition}.{ext}")
    (tmp_path / "web.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def opened(ledger: Ledger, source: Source, profile: Profile) -> str:
    """A batch of which every page is planned."""
    batch = ledger.write(
        open_batch,
        flow_run_id=None,
        deployment_id=None,
        name="nightly",
        source=source.model_dump(mode="json", exclude_none=True),
        profile=profile.model_dump(mode="json"),
        options={},
    )
    ledger.write(finish_planning, batch.id)
    return batch.id


def test_an_age_counts_from_the_beginning_of_the_batch(ledger: Ledger, profiles: Path) -> None:
    """A later leg sees the same objects."""
    source = BucketSource(uri="s3://media/in/", modified_since="2d", modified_before="1h")
    settled, _ = settle(ledger, source, "web", profiles)
    assert isinstance(settled, BucketSource)
    assert isinstance(settled.modified_since, datetime)
    age = datetime.now(UTC) - settled.modified_since
    assert timedelta(days=2) <= age < timedelta(days=2, minutes=5)
    again = BucketSource.model_validate(settled.model_dump(mode="json"))
    assert again == settled


def test_the_last_scan_becomes_a_time_less_the_overlap(ledger: Ledger, profiles: Path) -> None:
    """The first one looks at everything."""
    source = BucketSource(uri="s3://media/in/", since_last_scan=True, overlap="2h")
    first, profile = settle(ledger, source, "web", profiles)
    assert first == source
    opened(ledger, first, profile)
    second, profile = settle(ledger, source, "web", profiles)
    assert isinstance(second, BucketSource)
    assert isinstance(second.modified_since, datetime)
    age = datetime.now(UTC) - second.modified_since
    assert timedelta(hours=2) <= age < timedelta(hours=2, minutes=5)
    # And its own scan counts for the next.
    opened(ledger, second, profile)
    assert settle(ledger, source, "web", profiles)[0] != source


def test_a_time_of_ones_own_and_the_last_scan_exclude_each_other(
    ledger: Ledger, profiles: Path
) -> None:
    """What is older than both would never be looked at."""
    source = BucketSource(uri="s3://media/in/", since_last_scan=True, modified_since="2d")
    with pytest.raises(SourceError, match="exclude each other"):
        settle(ledger, source, "web", profiles)


@pytest.mark.parametrize(
    "source",
    [
        BucketSource(uri="s3://media/", more_uris=("s3://out/",)),
        QueueSource(queue_url=QUEUE, uri="s3://out/"),
    ],
)
def test_outputs_may_not_come_back_as_items(ledger: Ledger, profiles: Path, source: Source) -> None:
    """Through whichever of the folders that a source is about."""
    with pytest.raises(DestinationOverlap):
        settle(ledger, source, "web", profiles)


def test_latest_becomes_a_batch_with_its_profile(ledger: Ledger, profiles: Path) -> None:
    """`all` stays all, with the profile that was asked for."""
    source = BucketSource(uri="s3://media/in/")
    profile = settle(ledger, source, "web", profiles)[1]
    batch = opened(ledger, source, profile.model_copy(update={"name": "older"}))
    failed = FailedJobsSource(batch="latest", ended_since="2d")
    settled, found = settle(ledger, failed, "web", profiles)
    assert isinstance(settled, FailedJobsSource)
    assert (settled.batch, found.name) == (batch, "older")
    assert isinstance(settled.ended_since, datetime)
    settled, found = settle(ledger, FailedJobsSource(batch="all"), "web", profiles)
    assert isinstance(settled, FailedJobsSource)
    assert (settled.batch, found.name) == ("all", "web")
