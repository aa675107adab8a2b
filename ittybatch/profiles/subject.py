"""An item as templates and conditions see it, worked out once for all its renditions."""

import hashlib
from functools import cached_property

from ittybatch.profiles.cleaning import clean_bucket, clean_path, clean_segment
from ittybatch.profiles.item import Item
from ittybatch.profiles.media import media_of

DESTINATION_ITEM_FIELDS = frozenset({"bucket", "key", "stem", "suffix", "dir", "item"})
METADATA_ITEM_FIELDS = DESTINATION_ITEM_FIELDS | {"uri", "profile"}
_ITEM_HASH_LENGTH = 16


class Subject:
    """One item with what its renditions ask about it."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.key = item.key
        self.folder, _, self.name = self.key.rpartition("/")
        stem, dot, ending = self.name.rpartition(".")
        whole = bool(dot and stem and ending)
        self.stem = stem if whole else self.name
        self.suffix = f".{ending.lower()}" if whole else ""
        self.media = media_of(self.suffix)

    @cached_property
    def item_hash(self) -> str:
        """Short name of the item that no other item of a library shares."""
        digest = hashlib.sha256(self.item.uri.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:_ITEM_HASH_LENGTH]

    @cached_property
    def destination_values(self) -> dict[str, str]:
        """Values that cannot lead out of the place a template puts them in."""
        return {
            "bucket": clean_bucket(self.item.bucket),
            "key": clean_path(self.key) or "_",
            "stem": clean_segment(self.stem) or "_",
            "suffix": clean_segment(self.suffix[1:]),
            "dir": clean_path(self.folder),
            "item": self.item_hash,
        }

    @cached_property
    def metadata_values(self) -> dict[str, str]:
        """Values as they are, for metadata."""
        return {
            "uri": self.item.uri,
            "bucket": self.item.bucket,
            "key": self.key,
            "stem": self.stem,
            "suffix": self.suffix[1:],
            "dir": self.folder,
            "item": self.item_hash,
            **{f"metadata.{name}": value for name, value in self.item.metadata.items()},
        }
