"""Messages about new objects, in each form in which S3 has them delivered.

S3's own notifications have their keys encoded as in a query, EventBridge's have not. Either may
come in an envelope of SNS. https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import orjson

from ittybatch.sources.entry import Entry

# An envelope in an envelope is how fan-outs are forwarded; more is nobody's.
_MAX_ENVELOPES = 3
_OTHER = "other event"


class UnreadableError(Exception):
    """A message, or a record of it, that tells of no object; the text says why."""


@dataclass(frozen=True, slots=True)
class Created:
    """One new object.

    Args:
        bucket: The bucket that holds it.
        entry: The object; its fingerprint is the ETag, or the version where that was asked for.
        sequencer: Orders the events of one key; empty where there is none.
    """

    bucket: str
    entry: Entry
    sequencer: str

    def is_newer_than(self, other: "Created") -> bool:
        """Whether this is the later one of two events of one object."""
        width = max(len(self.sequencer), len(other.sequencer))
        return self.sequencer.ljust(width, "0") > other.sequencer.ljust(width, "0")


def read_message(body: str, *, versioned: bool) -> Iterator[Created | str | UnreadableError]:
    """Read a message.

    Args:
        body: Its text.
        versioned: Whether objects are told apart by their version ids.

    Yields:
        For each record the object, or what kind of event it is that tells of none, or why it
        cannot be read.
    """
    try:
        content = _opened(body)
    except UnreadableError as error:
        yield error
        return
    if content.get("Event") == "s3:TestEvent":
        yield "test event"
    elif isinstance(records := content.get("Records"), list):
        for record in records:
            yield _safely(_from_record, record, versioned=versioned)
    elif content.get("source") == "aws.s3" and "detail" in content:
        yield _safely(_from_eventbridge, content, versioned=versioned)
    else:
        yield UnreadableError("is neither a notification of S3 nor an event of EventBridge")


def _opened(body: str) -> dict[str, Any]:
    """Take a message out of the envelopes of SNS."""
    for _ in range(_MAX_ENVELOPES):
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UnreadableError(f"is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise UnreadableError("is not a JSON object")
        if content.get("Type") != "Notification" or not isinstance(content.get("Message"), str):
            return content
        body = content["Message"]
    raise UnreadableError(f"has more than {_MAX_ENVELOPES} envelopes of SNS")


def _safely(read: Any, record: Any, *, versioned: bool) -> Created | str | UnreadableError:  # noqa: ANN401 - anything may come
    try:
        found: Created | str = read(record, versioned=versioned)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return UnreadableError(f"is not complete: {type(error).__name__}: {error}")
    return found


def _from_record(record: Any, *, versioned: bool) -> Created | str:  # noqa: ANN401 - anything
    if not str(record["eventName"]).removeprefix("s3:").startswith("ObjectCreated:"):
        return _OTHER
    found = record["s3"]["object"]
    return _created(
        record["s3"]["bucket"]["name"],
        unquote_plus(found["key"], errors="strict"),
        found,
        (found.get("eTag"), found.get("versionId") if versioned else None),
        record.get("eventTime"),
    )


def _from_eventbridge(content: Any, *, versioned: bool) -> Created | str:  # noqa: ANN401 - anything
    if content.get("detail-type") != "Object Created":
        return _OTHER
    found = content["detail"]["object"]
    return _created(
        content["detail"]["bucket"]["name"],
        found["key"],
        found,
        (found.get("etag"), found.get("version-id") if versioned else None),
        content.get("time"),
    )


def _created(
    bucket: str,
    key: str,
    found: dict[str, Any],
    marks: tuple[str | None, str | None],
    time: str | None,
) -> Created:
    if not key or not bucket:
        raise ValueError("the name of the bucket or of the object is empty")
    etag, version = marks
    sequencer = str(found.get("sequencer") or "")
    size = found.get("size")
    entry = Entry(
        str(key),
        None if size is None else int(size),
        version or (etag or "").strip('"') or sequencer or None,
        None if time is None else datetime.fromisoformat(time),
    )
    return Created(str(bucket), entry, sequencer)
