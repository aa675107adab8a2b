"""Skip jobs whose output already exists at its destination, made without this ledger.

This check is optional, for libraries that were partly processed before. It sends one request per
job.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Self

from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.sources.s3 import MOST_AT_ONCE, SCHEME, failure, patient, s3_client, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ALREADY_THERE = "already_there"


class ExistingOutputs:
    """Removes jobs whose output already exists from pages."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="existing")
        self._client: S3Client | None = None
        self._answered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._client:
            self._client.close()

    def without(self, page: PlannedPage) -> PlannedPage:
        """Return a page without the jobs whose output already exists.

        Jobs without a destination stay, because Ittybit's store gives each output a new address.

        Raises:
            SourceError: A destination could not be checked. Submitting its job anyway could bill
                for an output that exists.
        """
        places = {
            job.destination
            for item in page.items
            for job in item.jobs
            if job.destination and job.destination.startswith(SCHEME)
        }
        if not places:
            return page
        if self._client is None:
            self._client = s3_client()
        wanted = sorted(places)
        there = {
            place
            for place, exists in zip(wanted, self._pool.map(self._exists, wanted), strict=True)
            if exists
        }
        counts = Counter(page.counts)
        items = []
        for item in page.items:
            jobs = [job for job in item.jobs if job.destination not in there]
            counts[ALREADY_THERE] += len(item.jobs) - len(jobs)
            if jobs:
                items.append(PlannedItem(item.item, jobs))
        return replace(page, items=items, counts=counts)

    def _exists(self, place: str) -> bool:
        assert self._client is not None  # noqa: S101  created before the first check
        bucket, key = split_uri(place)
        try:
            look = partial(self._client.head_object, Bucket=bucket, Key=key)
            found = patient(look, first=not self._answered)
            self._answered = True
        except ClientError as error:
            self._answered = True
            status = error.response["ResponseMetadata"].get("HTTPStatusCode")
            if status == HTTPStatus.NOT_FOUND:
                return False
            raise failure("looked at", place, error) from error
        except BotoCoreError as error:
            raise failure("looked at", place, error) from error
        # A failed upload may have left an empty object.
        return found["ContentLength"] > 0
