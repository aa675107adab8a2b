"""Events of buckets and tables, turned into requests: new objects and new rows."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ittybatch.intake.declared import Declared
from ittybatch.intake.rows import is_row_event, row_wanted
from ittybatch.intake.rules import BucketDeclared
from ittybatch.intake.wanted import Wanted
from ittybatch.profiles import Item
from ittybatch.sources.entry import UNSEEN_REASON, Entry, has_unseen, visible
from ittybatch.sources.event import Event, UnreadableError, read_message
from ittybatch.sources.newest import Newest, Place

UNDECLARED = "undeclared"
# As a plan counts objects that no rendition's condition fits.
WITHOUT_RENDITION = "without_rendition"
_MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class EventResult:
    """What the events of one message ask for.

    Args:
        wanted: One request for each new object or row.
        left_out: How many each rule leaves out, by the rule's name.
        unreadable: Why events of it cannot be read.
    """

    wanted: Sequence[Wanted]
    left_out: Mapping[str, int]
    unreadable: Sequence[str]


def is_event(content: object) -> bool:
    """Say whether a JSON body is an event of a bucket or of a table, not a plain request."""
    if not isinstance(content, dict):
        return False
    return (
        is_row_event(content)
        or isinstance(content.get("Records"), list)
        or content.get("Event") == "s3:TestEvent"
        or ("detail-type" in content and "source" in content)
        or (content.get("Type") == "Notification" and "Message" in content)
    )


def wanted_of(body: str | bytes | dict[str, Any], declared: Declared) -> EventResult:
    """Read the events of one message.

    Args:
        body: An event of EventBridge, a notification of S3 or of another store, either of them in
            an envelope of SNS, or a database webhook of Supabase: its JSON, or the object.
        declared: Which objects and rows get which jobs.

    Raises:
        RequestRefused: A row names an object of a bucket that its table does not allow.
    """
    content = body if isinstance(body, dict) else _row_event(body)
    if content is not None and is_row_event(content):
        return _of_row(content, declared)
    sorting = Sorting(declared)
    fate = sorting.add(0, body)
    wanted = [each for each, _ in sorting.wanted()]
    return EventResult(wanted, dict(sorting.left_out), fate.unreadable)


def _row_event(body: str | bytes) -> dict[str, Any] | None:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None


def _of_row(content: Mapping[str, Any], declared: Declared) -> EventResult:
    try:
        found = row_wanted(content, declared)
    except UnreadableError as error:
        return EventResult((), {}, (str(error),))
    if isinstance(found, str):
        return EventResult((), {found: 1}, ())
    return EventResult((found,), {}, ())


@dataclass(frozen=True, slots=True)
class Fate:
    """What a message holds besides the objects that are wanted.

    Args:
        unreadable: Why events of it cannot be read.
        filtered: Names of the declared filters that leave out objects of it.
        undeclared: Whether it has events about folders that are not declared.
    """

    unreadable: tuple[str, ...]
    filtered: tuple[str, ...]
    undeclared: bool


class Sorting:
    """Sorts the events of messages that were received together.

    Args:
        declared: Which objects get which jobs.
    """

    def __init__(self, declared: Declared) -> None:
        self.left_out: Counter[str] = Counter()
        self._declared = declared
        self._newest = Newest()
        self._messages: dict[Place, set[int]] = {}

    def add(self, number: int, body: str | bytes | dict[str, Any]) -> Fate:
        """Add the events of a message.

        Args:
            number: Identifies the message.
            body: The message.
        """
        unreadable: list[str] = []
        filtered: list[str] = []
        undeclared = False
        for found in read_message(body, versioned=False):
            if isinstance(found, UnreadableError):
                unreadable.append(str(found))
            elif isinstance(found, str):
                self.left_out[found] += 1
            elif (rules := self._rules_of(found)) == []:
                self.left_out[UNDECLARED] += 1
                undeclared = True
            elif has_unseen(found.entry.key):
                unreadable.append(_unseen(found))
            elif rule := _filtered_by(found, rules):
                self.left_out[rule] += 1
                filtered.append(rule)
            else:
                self._messages.setdefault((found.bucket, found.entry.key), set()).add(number)
                if why := self._newest.add(found):
                    self.left_out[why] += 1
        return Fate(tuple(unreadable), tuple(filtered), undeclared)

    def wanted(self) -> Iterator[tuple[Wanted, set[int]]]:
        """Yield each wanted object, with the messages about it. Counts litter in `left_out`."""
        for found in self._newest.existing():
            entry = found.entry
            rules = self._rules_of(found)
            rule = next((each for each in rules if _why_not(entry, each) is None), None)
            if rule is None:
                self.left_out[_why_not(entry, rules[0]) or UNDECLARED] += 1
                continue
            yield (
                _object_wanted(found, rule),
                self._messages[found.bucket, entry.key],
            )

    def _rules_of(self, found: Event) -> list[BucketDeclared]:
        key = found.entry.key
        return [each for each in self._declared.buckets if each.contains(found.bucket, key)]


def _why_not(entry: Entry, rule: BucketDeclared) -> str | None:
    return next(
        (each.name for each in (*rule.litter, *rule.filters) if each.leaves_out(entry)), None
    )


def _filtered_by(found: Event, rules: Sequence[BucketDeclared]) -> str | None:
    """Return the declared filter that leaves an object out.

    Litter and removed objects do not count: a message about them need not be kept, but a mistake
    in a filter must not empty a queue.
    """
    entry = found.entry
    if found.removed:
        return None
    names: list[str] = []
    for rule in rules:
        if any(each.leaves_out(entry) for each in rule.litter):
            return None
        name = next((each.name for each in rule.filters if each.leaves_out(entry)), None)
        if name is None:
            return None
        names.append(name)
    return names[0]


def _object_wanted(found: Event, rule: BucketDeclared) -> Wanted:
    entry = found.entry
    versioned = rule.versioned and found.version not in {"", "null"}
    item = Item(
        f"s3://{found.bucket}/{entry.key}",
        found.version if versioned else entry.fingerprint,
        entry.size_bytes,
        entry.modified_at,
    )
    return Wanted(
        item=item,
        profile=rule.profile,
        tasks=rule.specs,
        # The names that Ittybit's AWS guide uses.
        metadata={"source_bucket": found.bucket, "source_key": entry.key},
    )


def _unseen(found: Event) -> str:
    return f"s3://{found.bucket}/{visible(found.entry.key)}"[:_MAX_SHOWN] + f" {UNSEEN_REASON}"
