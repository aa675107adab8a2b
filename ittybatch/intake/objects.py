"""Gives the objects that requests name the identity that scans, events and uploads give them.

A request says `s3://bucket/key` and no ETag. Without one, its jobs would be other jobs than those
of a scan of the same object, and paid for a second time; and an object that was overwritten would
get the output of the earlier one.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from ittybatch.errors import IttybatchError
from ittybatch.intake.declared import Declared
from ittybatch.ittybit.redaction import redacted
from ittybatch.profiles import Item
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.sources.entry import Entry, visible
from ittybatch.sources.head import entry_of_head
from ittybatch.sources.s3 import MOST_AT_ONCE, aws_client, failure, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

logger = logging.getLogger(__name__)

# A caller of the API gets its answer within 0.8 s, with Ittybit's id in it.
_LOOK_S = 0.5
# The first look of a process also makes the client and finds the credentials.
_FIRST_LOOK_S = 2.0
# A look that nobody waits for any more soon frees its thread.
_CALLS = Config(
    connect_timeout=_LOOK_S,
    read_timeout=_LOOK_S,
    retries={"mode": "standard", "total_max_attempts": 1},
)
_MAX_SHOWN = 200


class Objects:
    """Looks at objects, with the environment's credentials, as scans and uploads do.

    Args:
        declared: Says in which folders the version id identifies an object.
    """

    def __init__(self, declared: Declared | None = None) -> None:
        self._declared = declared or Declared()
        # Looks wait for the network, so they must not wait for each other.
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="objects")
        self._making = threading.Lock()
        self._client: S3Client | None = None
        self._closed = False

    async def identified(self, item: Item) -> Item:
        """Look at an object that a request names, and add its fingerprint, size and time.

        An object that cannot be looked at within half a second keeps the identity of its URI
        alone: these credentials may not read it, or Ittybit reads another store than they do.

        Args:
            item: The request's input. Only `s3://` inputs without a fingerprint are looked at.
        """
        uri = item.uri.strip()
        if item.fingerprint is not None or not uri.startswith(S3_SCHEME) or self._closed:
            return item
        try:
            bucket, key = split_uri(uri)
        except ValueError:
            return item  # it is refused later, with the reason
        look_s = _LOOK_S if self._client is not None else _FIRST_LOOK_S
        try:
            entry = await asyncio.wait_for(self._in_thread(self._look, bucket, key), look_s)
        except TimeoutError:
            _not_identified(uri, f"the store has not answered within {look_s} s")
        except FileNotFoundError:
            # Not refused: a request that is repeated may be about an object that is gone by now.
            _not_identified(uri, "these credentials see no such object")
        except (BotoCoreError, ClientError, ResponseParserError, ValueError) as error:
            _not_identified(uri, failure("looked at", uri, error).message)
        except IttybatchError as error:
            _not_identified(uri, error.message)
        else:
            return replace(
                item,
                uri=uri,
                fingerprint=entry.fingerprint,
                size_bytes=entry.size_bytes,
                modified_at=entry.modified_at,
            )
        return item

    def close(self) -> None:
        """Stop looking. Looks under way end within a second."""
        self._closed = True
        self._threads.shutdown(wait=False)

    def _in_thread(
        self, look: Callable[[str, str], Entry], bucket: str, key: str
    ) -> asyncio.Future[Entry]:
        return asyncio.get_running_loop().run_in_executor(self._threads, look, bucket, key)

    def _look(self, bucket: str, key: str) -> Entry:
        try:
            answer = self._connected().head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") == HTTPStatus.NOT_FOUND:
                raise FileNotFoundError from error
            raise
        entry = entry_of_head(key, answer, versioned=False)
        if self._is_versioned(bucket, entry):
            return entry_of_head(key, answer, versioned=True)
        return entry

    def _connected(self) -> "S3Client":
        # One for all buckets: after a redirect, it remembers the bucket's region.
        with self._making:
            if self._client is None:
                self._client = cast("S3Client", aws_client("s3", config=_CALLS))
            return self._client

    def _is_versioned(self, bucket: str, entry: Entry) -> bool:
        for rule in self._declared.buckets:
            rules = (*rule.litter, *rule.filters)
            if rule.contains(bucket, entry.key) and not any(
                each.leaves_out(entry) for each in rules
            ):
                return rule.versioned
        uploads = self._declared.uploads
        return (
            uploads is not None
            and uploads.versioned
            and uploads.bucket == bucket
            and entry.key.startswith(uploads.prefix)
        )


def _not_identified(uri: str, why: str) -> None:
    logger.warning(
        "%s is identified by its URI alone, so a scan of it would make its jobs again: %s",
        visible(uri)[:_MAX_SHOWN],
        visible(redacted(why)),
    )
