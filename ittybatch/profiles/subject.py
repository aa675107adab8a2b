"""An item's values for templates and conditions, computed once for all its renditions."""

import hashlib
from collections.abc import Callable, Mapping

from ittybatch.profiles.item import S3_SCHEME, Item
from ittybatch.profiles.job import item_key
from ittybatch.profiles.keys import clean_bucket, clean_path, clean_segment
from ittybatch.profiles.media import media_of

DESTINATION_ITEM_FIELDS = frozenset({"bucket", "key", "stem", "suffix", "dir", "item"})
METADATA_ITEM_FIELDS = DESTINATION_ITEM_FIELDS | {"uri", "profile"}
_ITEM_HASH_LENGTH = 16


class Subject:
    """One item, with its values for templates and conditions."""

    __slots__ = (
        "_item_key", "_safe", "bucket", "folder", "item", "key", "media", "name", "stem", "suffix",
    )  # fmt: skip

    def __init__(self, item: Item) -> None:
        self.item = item
        if item.uri.startswith(S3_SCHEME):
            self.bucket, _, self.key = item.uri[len(S3_SCHEME) :].partition("/")
        else:
            self.bucket, self.key = item.bucket, item.key
        self.folder, _, self.name = self.key.rpartition("/")
        stem, dot, ending = self.name.rpartition(".")
        whole = bool(dot and stem and ending)
        self.stem = stem if whole else self.name
        self.suffix = f".{ending.lower()}" if whole else ""
        self.media = media_of(self.suffix)
        self._safe: dict[str, str] = {}
        self._item_key = ""

    @property
    def item_key(self) -> str:
        """The first part of the job keys of all its jobs."""
        if not self._item_key:
            self._item_key = item_key(self.item)
        return self._item_key

    @property
    def item_hash(self) -> str:
        """A short hash that identifies the item in a library."""
        digest = hashlib.sha256(self.item.uri.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:_ITEM_HASH_LENGTH]

    def destination_value(self, name: str) -> str:
        """Return a field's value, cleaned so that it cannot leave its place in the key."""
        found = self._safe.get(name)
        if found is None:
            found = self._safe[name] = _SAFE[name](self)
        return found

    @property
    def metadata_values(self) -> dict[str, str]:
        """Values for metadata, not cleaned."""
        return {
            "uri": self.item.uri,
            "bucket": self.bucket,
            "key": self.key,
            "stem": self.stem,
            "suffix": self.suffix[1:],
            "dir": self.folder,
            "item": self.item_hash,
            **{f"metadata.{name}": value for name, value in self.item.metadata.items()},
        }


_SAFE: Mapping[str, Callable[[Subject], str]] = {
    "bucket": lambda subject: (
        subject.bucket if subject.item.uri.startswith(S3_SCHEME) else clean_bucket(subject.bucket)
    ),
    "key": lambda subject: clean_path(subject.key) or "_",
    "stem": lambda subject: clean_segment(subject.stem) or "_",
    "suffix": lambda subject: clean_segment(subject.suffix[1:]),
    "dir": lambda subject: clean_path(subject.folder),
    "item": lambda subject: subject.item_hash,
}
