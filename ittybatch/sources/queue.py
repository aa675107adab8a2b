"""The source that is a queue of events: S3 tells of new objects, and each becomes an item."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from typing import Literal
from uuid import uuid4

from pydantic import ConfigDict, Field, field_validator

from ittybatch.sources.cursor import write_cursor
from ittybatch.sources.entry import has_unseen, sort_entries
from ittybatch.sources.errors import SourceError
from ittybatch.sources.event import Created, UnreadableError, read_message
from ittybatch.sources.filters import ObjectFilters, rules_of
from ittybatch.sources.form import as_form
from ittybatch.sources.moment import Span
from ittybatch.sources.page import Page, Reject
from ittybatch.sources.s3 import split_uri
from ittybatch.sources.sqs import Message, SqsQueue, check_queue_url

DEFAULT_PAGE_SIZE = 1000
# A queue that has nothing to give for so long is taken for empty.
EMPTY_AFTER_S = 3
_MOST_EXCERPT_CHARACTERS = 200


class QueueSource(ObjectFilters):
    """New objects that an SQS queue tells of, read until it is empty."""

    model_config = ConfigDict(
        extra="forbid", title="Queue of events", frozen=True, json_schema_extra=as_form
    )

    type: Literal["queue"] = Field(
        "queue", title="Type", description="An SQS queue of S3's Object Created events."
    )
    queue_url: str = Field(
        title="Queue",
        description="URL of an SQS queue that S3 notifies, itself, through EventBridge or SNS.",
        examples=["https://sqs.eu-west-1.amazonaws.com/123456789012/uploads"],
        max_length=2048,
    )
    uri: str = Field(
        title="Bucket and prefix",
        description="`s3://bucket/prefix/`: only objects in this folder. Outputs must go "
        "elsewhere, for each of them would be told of, and processed, again.",
        examples=["s3://media/uploads/"],
    )
    dead_letter_url: str | None = Field(
        None,
        title="Queue of what cannot be read",
        description="URL of an SQS queue that keeps messages that cannot be read, each with its "
        "reason. Without one they stay in the queue, whose own redrive policy may move them.",
        max_length=2048,
    )
    max_messages: int = Field(
        100_000,
        title="Most messages",
        description="Leave the rest to the next batch after so many.",
        ge=1,
        le=10_000_000,
    )
    max_time: Span = Field(
        900.0,
        title="Longest time",
        description="Leave the rest to the next batch after reading for so long, such as `15m`.",
        gt=0,
        json_schema_extra={"type": "string", "default": "15m"},
    )

    @field_validator("queue_url")
    @classmethod
    def _a_queue(cls, url: str) -> str:
        return check_queue_url(url)

    @field_validator("dead_letter_url")
    @classmethod
    def _another_queue(cls, url: str | None) -> str | None:
        return check_queue_url(url) if url and url.strip() else None

    @field_validator("uri")
    @classmethod
    def _bucket_and_folder(cls, uri: str) -> str:
        bucket, key = split_uri(uri.strip())
        if has_unseen(key):
            raise ValueError(f"{uri!r} holds a character that cannot be seen")
        return f"s3://{bucket}/{key if not key or key.endswith('/') else key + '/'}"


def read_queue(
    source: QueueSource, *, cursor: str | None = None, page_size: int = DEFAULT_PAGE_SIZE
) -> Iterator[Page]:
    """Receive messages until the queue is empty, in pages.

    A page's messages are deleted by its `acknowledge`, once somebody has committed it. Those of
    pages that nobody acknowledged are given back at the end: nothing is lost by looking.

    Args:
        source: The queue.
        cursor: Makes no difference: what was dealt with is no longer in the queue.
        page_size: Messages a page at most.

    Raises:
        SourceError: The queue cannot be read.
    """
    del cursor
    with ExitStack() as stack:
        queue = stack.enter_context(closing(SqsQueue(source.queue_url)))
        aside = None
        if source.dead_letter_url is not None:
            aside = stack.enter_context(closing(SqsQueue(source.dead_letter_url)))
        reading = _Reading(source, queue, aside)
        stack.callback(reading.give_back)
        ends_at = time.monotonic() + source.max_time
        left = source.max_messages
        while left > 0 and time.monotonic() < ends_at:
            messages = queue.receive(min(page_size, left), EMPTY_AFTER_S)
            if not messages:
                return
            new = reading.take(messages)
            if not new:
                # Only what was received before, and is still waiting for somebody.
                return
            left -= len(new)
            yield reading.page(new)


class _Reading:
    """Turns messages into pages, and knows those that nobody has dealt with.

    Args:
        source: The source.
        queue: Its queue.
        aside: The queue for what cannot be read.
    """

    def __init__(self, source: QueueSource, queue: SqsQueue, aside: SqsQueue | None) -> None:
        self._source = source
        self._bucket, self._prefix = split_uri(source.uri)
        self._rules = rules_of(source, self._prefix)
        self._queue = queue
        self._aside = aside
        self._open: dict[str, Message] = {}

    def take(self, messages: Sequence[Message]) -> list[Message]:
        """Note messages, and give each once that was not received before: queues repeat some."""
        new = {message.id: message for message in messages if message.id not in self._open}
        # The newer receipt is the one that counts.
        self._open.update({message.id: message for message in messages})
        return list(new.values())

    def page(self, new: Sequence[Message]) -> Page:
        """Make a page of messages that no page has had before."""
        newest: dict[str, Created] = {}
        rejects: list[Reject] = []
        unreadable: dict[str, str] = {}
        left_out: dict[str, int] = {}
        for message in new:
            for found in self._read(message):
                if isinstance(found, UnreadableError):
                    unreadable[message.id] = str(found)
                    rejects.append(_reject(message, str(found)))
                    continue
                rule = found if isinstance(found, str) else self._rule_against(found, newest)
                if rule is not None:
                    left_out[rule] = left_out.get(rule, 0) + 1
        entries = [each.entry for each in newest.values()]
        items, _, filtered = sort_entries(self._bucket, entries, self._rules)
        return Page(
            items,
            rejects,
            {**left_out, **filtered},
            # No place, but unlike every other: the ledger tells a page that it has by it.
            write_cursor(self._source.type, self._source.queue_url, {"page": uuid4().hex}),
            lambda: self._acknowledge(new, unreadable),
        )

    def _read(self, message: Message) -> Iterator[Created | str | UnreadableError]:
        """Read a message, as `read_message` does; what is elsewhere is left out."""
        for found in read_message(message.body, versioned=self._source.versioned):
            if isinstance(found, Created):
                key = found.entry.key
                if found.bucket != self._bucket or not key.startswith(self._prefix):
                    yield "prefix"
                    continue
                # Here, where it is still known which message has to be kept for it.
                if has_unseen(key):
                    yield UnreadableError(
                        f"names {repr(key)[:_MOST_EXCERPT_CHARACTERS]}, which holds a character "
                        "that cannot be seen; rename the object"
                    )
                    continue
            yield found

    @staticmethod
    def _rule_against(found: Created, newest: dict[str, Created]) -> str | None:
        """Take an object in; or say why it is left out."""
        key = found.entry.key
        before = newest.get(key)
        if before is None or found.is_newer_than(before):
            newest[key] = found
        # What was there before has been replaced.
        return None if before is None else "newer event"

    def _acknowledge(self, messages: Sequence[Message], unreadable: dict[str, str]) -> None:
        done = []
        for message in messages:
            reason = unreadable.get(message.id)
            if reason is not None:
                if self._aside is None:
                    continue
                self._aside.put_aside(message, reason)
            done.append(self._open[message.id])
        self._queue.delete(done)
        for message in done:
            del self._open[message.id]

    def give_back(self) -> None:
        """Let messages that nobody acknowledged be received again, now if it can be."""
        with suppress(SourceError):
            self._queue.give_back(list(self._open.values()))


def _reject(message: Message, reason: str) -> Reject:
    shown = message.body[:_MOST_EXCERPT_CHARACTERS]
    excerpt = "".join(each if each.isprintable() else "\ufffd" for each in shown)
    return Reject(None, "message", reason, excerpt)
