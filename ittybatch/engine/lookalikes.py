"""Find existing objects whose keys look the same as those of missing inputs.

Unicode writes `é` as one character (NFC), or as a letter and an accent (NFD, as in file names on
Macs). In a bucket these are two different keys that look the same.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.ledger import Ledger
from ittybatch.ledger.results import all_job_rows
from ittybatch.ledger.states import JobState
from ittybatch.sources import SourceError
from ittybatch.sources.s3 import SCHEME, s3_client, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FORMS = {"NFC": "composed characters", "NFD": "decomposed characters, as Macs write them"}
# Each check costs a request, and a few examples are enough to fix a manifest.
_MAX_CHECKED = 20
_MAX_READ = 10_000


def describe_lookalikes(ledger: Ledger, batch: str) -> list[str]:
    """Describe failed inputs whose object exists under the other Unicode form of the key.

    This only reports: both keys may exist, and only their owner knows which one is right. It skips
    inputs that it cannot check.

    Args:
        ledger: The ledger that has the batch.
        batch: The batch's id.
    """
    rows = islice(all_job_rows(ledger, batch, states=[JobState.FAILED]), _MAX_READ)
    return list(_describe(islice(_other_forms(row.input for row in rows), _MAX_CHECKED)))


def _other_forms(inputs: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield each S3 input that has another Unicode form, with that form's name and URI."""
    seen: set[str] = set()
    for uri in inputs:
        if uri in seen or uri.isascii() or not uri.startswith(SCHEME):
            continue
        seen.add(uri)
        for form in ("NFC", "NFD"):
            other = unicodedata.normalize(form, uri)
            if other != uri:
                yield uri, form, other


def _describe(candidates: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    client = None
    for uri, form, other in candidates:
        try:
            client = client or s3_client()
            if _exists(client, other) and not _exists(client, uri):
                yield (
                    f"{uri} does not exist, but an object whose key looks the same does, in "
                    f"{_FORMS[form]} ({form}). Write the manifest in that form."
                )
        except (BotoCoreError, ClientError, SourceError, ValueError):
            continue
    if client is not None:
        client.close()


def _exists(client: "S3Client", uri: str) -> bool:
    bucket, key = split_uri(uri)
    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        metadata = error.response.get("ResponseMetadata", {})
        if metadata.get("HTTPStatusCode") == HTTPStatus.NOT_FOUND:
            return False
        raise
    return True
