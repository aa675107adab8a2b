"""Resolve the relative parts of a source when a batch starts. They do not change afterwards."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.queries import find_batch
from ittybatch.ledger.scans import seen_until
from ittybatch.profiles import Profile, load_profile, refuse_overlap
from ittybatch.sources import (
    BucketSource,
    FailedJobsSource,
    RequestsSource,
    Source,
    SourceError,
    scanned_folders,
)
from ittybatch.sources.failed import EVERY_BATCH
from ittybatch.sources.filters import ObjectFilters


def settle(
    ledger: Ledger, source: Source, profile: str, profiles_dir: Path
) -> tuple[Source, Profile]:
    """Resolve the relative parts of a source, and load its profile.

    `latest` becomes a batch's id. An age becomes a time. "Since the last scan" becomes the time
    after which objects may be new.

    Args:
        ledger: The ledger that has the earlier batches.
        source: The source that the user gave.
        profile: Name or path of the profile.
        profiles_dir: The folder of named profiles.

    Raises:
        ProfileError: The profile is missing or invalid.
        DestinationOverlap: Outputs would be written to a folder that the source scans.
        SourceError: The source cannot be read.
    """
    now = datetime.now(UTC)
    if isinstance(source, RequestsSource):
        raise SourceError(
            "A batch of requests is opened by the receiver with the day's first request; it "
            "cannot be started by hand. Nothing was submitted.",
            remedy="Send the requests to the receiver (POST /process), or start a run of another "
            "source.",
        )
    if isinstance(source, FailedJobsSource):
        source = source.at(now)
        if source.batch == EVERY_BATCH:
            return source, load_profile(profile, profiles_dir)
        batch = ledger.read(find_batch, source.batch)
        source = source.model_copy(update={"batch": batch})
        return source, Profile.from_mapping(ledger.read(read_batch, batch).profile)
    chosen = load_profile(profile, profiles_dir)
    if folders := scanned_folders(source):
        refuse_overlap(chosen, folders)
    if isinstance(source, BucketSource) and source.since_last_scan:
        source = _since_last_scan(ledger, source, chosen)
    return (source.at(now) if isinstance(source, ObjectFilters) else source), chosen


def _since_last_scan(ledger: Ledger, source: BucketSource, profile: Profile) -> BucketSource:
    if source.modified_since is not None:
        raise SourceError(
            "since_last_scan and modified_since exclude each other.",
            remedy="Leave one of them out.",
        )
    seen = ledger.read(
        seen_until,
        source.model_dump(mode="json", exclude_none=True),
        profile.model_dump(mode="json"),
    )
    if seen is None:
        return source
    since = seen - timedelta(seconds=source.overlap)
    return source.model_copy(update={"modified_since": since})
