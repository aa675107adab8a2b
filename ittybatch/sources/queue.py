"""The source that is an SQS queue of S3 events: each new object becomes an item."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from typing import Literal, NamedTuple, Self
from uuid import uuid4

from pydantic import ConfigDict, Field, field_validator, model_validator

from ittybatch.sources.entry import UNSEEN_REASON, has_unseen, visible
from ittybatch.sources.event import Event, UnreadableError, read_message
from ittybatch.sources.filters import ObjectFilters, litter_rules, sort_entries, wanted_rules
from ittybatch.sources.form import as_form
from ittybatch.sources.moment import Span
from ittybatch.sources.newest import Newest, Place
from ittybatch.sources.page import Page, Reject, SourceError, write_cursor
from ittybatch.sources.s3 import split_uri
from ittybatch.sources.sqs import (
    Message,
    SqsQueue,
    check_queue_url,
    refuse_loops,
    same_queue,
)

# A queue without a message for this many seconds counts as empty.
EMPTY_AFTER_S = 3
_MAX_EXCERPT_CHARACTERS = 200


class QueueSource(ObjectFilters):
    """New objects, by their events in an SQS queue, which is read until it is empty."""

    model_config = ConfigDict(
        extra="forbid",
        title="Queue of events",
        frozen=True,
        json_schema_extra=as_form,
        hide_input_in_errors=True,
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
        description="`s3://bucket/prefix/`: only objects in this folder; messages about others "
        "stay in the queue. Write outputs elsewhere: each of them would cause an event and be "
        "processed again.",
        examples=["s3://media/uploads/"],
    )
    dead_letter_url: str | None = Field(
        None,
        title="Dead-letter queue",
        description="URL of an SQS queue for messages that cannot be read or that a filter leaves "
        "out, each with the reason. Without one they stay in the queue, whose redrive policy may "
        "move them.",
        max_length=2048,
    )
    max_messages: int = Field(
        100_000,
        title="Maximum messages",
        description="Leave the rest to the next batch after this many messages.",
        ge=1,
        le=10_000_000,
    )
    max_time: Span = Field(
        900.0,
        title="Maximum time",
        description="Leave the rest to the next batch after this long, such as `15m`.",
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

    @model_validator(mode="after")
    def _two_queues(self) -> Self:
        if self.dead_letter_url and same_queue(self.queue_url, self.dead_letter_url):
            raise ValueError(
                "dead_letter_url is the queue itself, which would receive its own messages again"
            )
        return self

    @field_validator("uri")
    @classmethod
    def _bucket_and_folder(cls, uri: str) -> str:
        bucket, key = split_uri(uri.strip())
        if has_unseen(key):
            raise ValueError(f"{visible(uri)} has an invisible character")
        return f"s3://{bucket}/{key if not key or key.endswith('/') else key + '/'}"


def read_queue(source: QueueSource, *, page_size: int) -> Iterator[Page]:
    """Receive messages until the queue is empty, in pages.

    There is no cursor: committed messages are no longer in the queue. A page's `acknowledge`
    deletes its messages; the caller calls it after the commit. Messages of other pages return to
    the queue at the end, so that a plan loses nothing.

    Args:
        source: The queue.
        page_size: Messages in a page at most.

    Raises:
        SourceError: The queue cannot be read.
    """
    with ExitStack() as stack:
        queue = stack.enter_context(closing(SqsQueue(source.queue_url, patience=True)))
        aside = None
        if source.dead_letter_url is not None:
            aside = stack.enter_context(closing(SqsQueue(source.dead_letter_url, patience=True)))
        refuse_loops(queue, aside)
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
                # Only messages that were received before and are not acknowledged.
                return
            page, stay = reading.page(new)
            # Messages that stay are for another reader and do not count.
            left -= len(new) - stay
            yield page


class _Fate(NamedTuple):
    """What happens to messages that are not simply deleted.

    Args:
        stay: Ids of messages that stay in the queue, whatever else they contain.
        aside: Reasons of messages for the dead-letter queue, by id. Without one they stay.
    """

    stay: set[str]
    aside: dict[str, str]


class _Reading:
    """Turns messages into pages, and remembers those that were not acknowledged.

    Args:
        source: The source.
        queue: Its queue.
        aside: Its dead-letter queue.
    """

    def __init__(self, source: QueueSource, queue: SqsQueue, aside: SqsQueue | None) -> None:
        self._source = source
        self._bucket, self._prefix = split_uri(source.uri)
        self._litter = litter_rules(source, self._prefix)
        self._filters = wanted_rules(source, self._prefix)
        self._queue = queue
        self._aside = aside
        self._open: dict[str, Message] = {}
        # Events are not in order: a removal may be pages before the creation that it cancels.
        self._removals: dict[Place, Event] = {}

    def take(self, messages: Sequence[Message]) -> list[Message]:
        """Note messages, and return those that were not received before: SQS repeats some."""
        new = {message.id: message for message in messages if message.id not in self._open}
        # Only the newest receipt is valid.
        self._open.update({message.id: message for message in messages})
        return list(new.values())

    def page(self, new: Sequence[Message]) -> tuple[Page, int]:
        """Make a page of messages that are in no other page.

        Returns:
            The page, and how many of its messages stay in the queue.
        """
        newest = Newest(self._removals)
        rejects: list[Reject] = []
        filtered: Counter[str] = Counter()
        fate = _Fate(set(), {})
        for message in new:
            for found in self._read(message):
                if isinstance(found, UnreadableError):
                    fate.aside[message.id] = str(found)
                    rejects.append(_reject(message, str(found)))
                elif isinstance(found, str):
                    filtered[found] += 1
                    if found == "prefix":
                        fate.stay.add(message.id)
                elif rule := self._unwanted(found):
                    filtered[rule] += 1
                    fate.aside[message.id] = f"is left out by `{rule}`"
                elif (why := newest.add(found)) is not None:
                    filtered[why] += 1
        entries = [each.entry for each in newest.existing()]
        items, _, litter = sort_entries(self._bucket, entries, self._litter)
        filtered.update(litter)
        page = Page(
            items,
            rejects,
            dict(filtered),
            # Unique, because the ledger recognises a committed page by its cursor.
            write_cursor(self._source.type, self._source.queue_url, {"page": uuid4().hex}),
            lambda: self._acknowledge(new, fate),
        )
        staying = fate.stay if self._aside is not None else fate.stay | fate.aside.keys()
        return page, len(staying)

    def _read(self, message: Message) -> Iterator[Event | str | UnreadableError]:
        """Read a message, as `read_message` does, without events of other folders."""
        for found in read_message(message.body, versioned=self._source.versioned):
            if isinstance(found, Event):
                key = found.entry.key
                if found.bucket != self._bucket or not key.startswith(self._prefix):
                    yield "prefix"
                    continue
                # Check it here, where the message that must be kept is known.
                if has_unseen(key):
                    shown = f"s3://{found.bucket}/{visible(key)}"[:_MAX_EXCERPT_CHARACTERS]
                    yield UnreadableError(f"{shown} {UNSEEN_REASON}")
                    continue
            yield found

    def _unwanted(self, found: Event) -> str | None:
        """Return the user's filter that leaves an object out.

        A mistake in a filter must not empty the queue, so these messages are kept. Messages of
        litter and removed objects need not be.
        """
        entry = found.entry
        if found.removed or any(rule.leaves_out(entry) for rule in self._litter):
            return None
        return next((rule.name for rule in self._filters if rule.leaves_out(entry)), None)

    def _acknowledge(self, messages: Sequence[Message], fate: _Fate) -> None:
        done: list[Message] = []
        aside: list[tuple[Message, str]] = []
        for message in messages:
            reason = fate.aside.get(message.id)
            if message.id in fate.stay or (reason is not None and self._aside is None):
                continue
            if reason is not None:
                aside.append((message, reason))
            done.append(self._open[message.id])
        if self._aside is not None:
            self._aside.put_aside(aside)
        self._queue.delete(done)
        for message in done:
            del self._open[message.id]

    def give_back(self) -> None:
        """Make messages that were not acknowledged visible again, if possible at once."""
        with suppress(SourceError):
            self._queue.give_back(list(self._open.values()))


def _reject(message: Message, reason: str) -> Reject:
    return Reject(None, "message", reason, visible(message.body)[:_MAX_EXCERPT_CHARACTERS])
