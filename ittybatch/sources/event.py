"""Messages about new and deleted objects, in each form that S3 sends.

S3's own notifications URL-encode keys, EventBridge does not. Either may be inside an envelope of
SNS. https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import orjson

from ittybatch.sources.answer import as_size, as_time
from ittybatch.sources.entry import Entry, bare_etag, has_unseen, visible

logger = logging.getLogger(__name__)

# Forwarded fan-outs have an envelope in an envelope.
_MAX_ENVELOPES = 3
_OTHER = "other event"
_RESTORED = ("ObjectRestore", "Completed")
_MAX_SHOWN = 200


class UnreadableError(Exception):
    """A message, or a record of it, has no readable object; the text says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """One object that was created, restored or deleted.

    Args:
        bucket: The object's bucket.
        entry: The object; its fingerprint is the ETag, or the version id if `versioned` asks.
        sequencer: Orders the events of one key; may be empty.
        removed: Whether the object was deleted.
        version: The version that the event is about; empty for the newest one.
    """

    bucket: str
    entry: Entry
    sequencer: str
    removed: bool = False
    version: str = ""

    def is_newer_than(self, other: "Event") -> bool:
        """Say whether this is the later one of two events of one object."""
        if self.sequencer and other.sequencer:
            width = max(len(self.sequencer), len(other.sequencer))
            return self.sequencer.ljust(width, "0") > other.sequencer.ljust(width, "0")
        mine, theirs = self.entry.modified_at, other.entry.modified_at
        if mine is not None and theirs is not None and mine != theirs:
            return mine > theirs
        # If in doubt, the object exists; otherwise its jobs fail and say so.
        return other.removed and not self.removed

    def cancels(self, other: "Event") -> bool:
        """Say whether this event removes the object that the other one created."""
        about_it = not self.version or not other.version or self.version == other.version
        return self.removed and about_it and self.is_newer_than(other)


def read_message(
    body: str | bytes | dict[str, Any], *, versioned: bool
) -> Iterator[Event | str | UnreadableError]:
    """Read a message.

    Args:
        body: Its JSON, or the object that it is.
        versioned: Whether the version id identifies an object, instead of its ETag.

    Yields:
        For each record the event; or the name of the rule that leaves it out; or why it cannot
        be read.
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


def _opened(body: str | bytes | dict[str, Any]) -> dict[str, Any]:
    """Remove the envelopes of SNS around a message."""
    for _ in range(_MAX_ENVELOPES):
        try:
            content = body if isinstance(body, dict) else orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UnreadableError(f"is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise UnreadableError("is not a JSON object")
        if content.get("Type") != "Notification" or not isinstance(content.get("Message"), str):
            return content
        body = content["Message"]
    raise UnreadableError(f"has more than {_MAX_ENVELOPES} envelopes of SNS")


def _safely(read: Any, record: Any, *, versioned: bool) -> Event | str | UnreadableError:  # noqa: ANN401 - anything may come
    try:
        found: Event | str = read(record, versioned=versioned)
    except UnreadableError as error:
        return error
    except Exception as error:  # one record must not keep the others of its queue from being read
        logger.exception("An event could not be read.")
        return UnreadableError(f"cannot be read: {type(error).__name__} (see the log)")
    return found


def _from_record(record: Any, *, versioned: bool) -> Event | str:  # noqa: ANN401 - anything
    kind, _, detail = _text(record, "eventName").removeprefix("s3:").partition(":")
    # An archived object can be read only after its restore.
    if kind not in {"ObjectCreated", "ObjectRemoved"} and (kind, detail) != _RESTORED:
        return _OTHER
    found = _part(record, "s3", "object")
    try:
        key = unquote_plus(_text(found, "key", of="s3.object."), errors="strict")
    except UnicodeDecodeError:
        raise UnreadableError(
            f"names {visible(str(found['key']))[:_MAX_SHOWN]}, which is not UTF-8 after it is "
            "decoded; rename the object"
        ) from None
    version = _optional(found, "versionId", of="s3.object.")
    return _event(
        _text(_part(record, "s3", "bucket"), "name", of="s3.bucket."),
        key,
        found,
        (_optional(found, "eTag", of="s3.object."), version if versioned else None),
        _optional(record, "eventTime"),
        sequencer=_optional(found, "sequencer", of="s3.object."),
        removed=kind == "ObjectRemoved",
        version=None if detail == "DeleteMarkerCreated" else version,
    )


def _from_eventbridge(content: Any, *, versioned: bool) -> Event | str:  # noqa: ANN401 - anything
    kind = _text(content, "detail-type")
    if kind not in {"Object Created", "Object Deleted", "Object Restore Completed"}:
        return _OTHER
    found = _part(content, "detail", "object")
    version = _optional(found, "version-id", of="detail.object.")
    marked = content["detail"].get("deletion-type") == "Delete Marker Created"
    return _event(
        _text(_part(content, "detail", "bucket"), "name", of="detail.bucket."),
        _text(found, "key", of="detail.object."),
        found,
        (_optional(found, "etag", of="detail.object."), version if versioned else None),
        _optional(content, "time"),
        sequencer=_optional(found, "sequencer", of="detail.object."),
        removed=kind == "Object Deleted",
        version=None if marked else version,
    )


def _part(record: Any, *names: str) -> dict[str, Any]:  # noqa: ANN401 - anything may come
    """Go down into a record.

    Raises:
        UnreadableError: A part of it is missing or is no object.
    """
    found: dict[str, Any] = record if isinstance(record, dict) else {}
    for place, name in enumerate(names, 1):
        found = found.get(name)  # type: ignore[assignment]  # anything may come
        if not isinstance(found, dict):
            raise UnreadableError(f"has no object `{'.'.join(names[:place])}`")
    return found


def _text(record: Any, name: str, *, of: str = "") -> str:  # noqa: ANN401 - anything may come
    value = record.get(name) if isinstance(record, dict) else None
    if not isinstance(value, str) or not value:
        raise UnreadableError(f"has no text in `{of}{name}`")
    return value


def _optional(record: dict[str, Any], name: str, *, of: str = "") -> str | None:
    """Return a text that may be missing, null or empty.

    Raises:
        UnreadableError: It is no text, or one that the ledger cannot store.
    """
    value = record.get(name)
    if value is None or value == "":
        return None
    text = _text(record, name, of=of)
    if has_unseen(text):
        raise UnreadableError(f"has an invisible character in `{of}{name}`")
    return text


def _event(
    bucket: str,
    key: str,
    found: dict[str, Any],
    marks: tuple[str | None, str | None],
    time: str | None,
    *,
    sequencer: str | None,
    removed: bool,
    version: str | None,
) -> Event:
    etag, mark = marks
    size = found.get("size")
    if size is not None and as_size(size) is None:
        raise UnreadableError(f"has {str(size)[:_MAX_SHOWN]!r} as the object's size")
    entry = Entry(
        key,
        as_size(size),
        # Every object that was never versioned has the version id `null`.
        (mark if mark != "null" else None) or bare_etag(etag) or sequencer,
        as_time(time),
    )
    return Event(bucket, entry, sequencer or "", removed=removed, version=version or "")
