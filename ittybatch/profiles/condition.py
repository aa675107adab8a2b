"""Which items a rendition is made for."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ittybatch.ittybit.options import Kind
from ittybatch.profiles.glob import glob_matches
from ittybatch.profiles.media import Media
from ittybatch.profiles.quantities import ByteCount
from ittybatch.profiles.subject import Subject

# What each kind can be made from, where a profile does not say.
SOURCES_OF_KIND: dict[Kind, tuple[Media, ...]] = {
    Kind.VIDEO: (Media.VIDEO,),
    Kind.AUDIO: (Media.VIDEO, Media.AUDIO),
    Kind.IMAGE: (Media.VIDEO, Media.IMAGE),
    Kind.ANIMATION: (Media.VIDEO,),
    Kind.ADAPTIVE_VIDEO: (Media.VIDEO, Media.AUDIO),
}


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Condition(BaseModel):
    """What must hold of an item; everything that is given must.

    Without `media`, `suffix` and `glob`, an item fits if its suffix says that its medium is
    one the rendition's kind can be made from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    media: Annotated[tuple[Media, ...], BeforeValidator(_as_list)] = ()
    suffix: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(max_length=100)] = ()
    glob: str | None = Field(None, min_length=1, max_length=500)
    min_size: ByteCount | None = None
    max_size: ByteCount | None = None

    @field_validator("suffix")
    @classmethod
    def _dotted(cls, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        dotted = tuple(f".{suffix.strip().lower().removeprefix('.')}" for suffix in suffixes)
        for suffix in dotted:
            if suffix == "." or "." in suffix[1:] or "/" in suffix:
                raise ValueError(f"{suffix!r} is not the suffix of a file name; write .mov")
        return dotted

    @model_validator(mode="after")
    def _possible(self) -> "Condition":
        if None not in (self.min_size, self.max_size) and self.min_size > self.max_size:  # type: ignore[operator]
            raise ValueError(
                f"no size is at least {self.min_size} and at most {self.max_size} bytes"
            )
        return self

    def reason_against(self, subject: Subject, kind: Kind) -> str | None:
        """Say why an item is left out, in words that many items can share.

        Returns:
            The reason, or None where the item fits.
        """
        return (
            self._against_media(subject, kind)
            or self._against_name(subject)
            or self._against_size(subject.item.size_bytes)
        )

    def _against_media(self, subject: Subject, kind: Kind) -> str | None:
        media = subject.media
        if self.media:
            wanted = self.media
        elif self.suffix or self.glob:
            return None
        else:
            wanted = SOURCES_OF_KIND[kind]
            # Whoever writes an item into a manifest has seen what it is.
            if media is None and subject.item.line is not None:
                return None
        if media in wanted:
            return None
        found = media.value if media else "not a known media file"
        return f"media: {found}, wanted {' or '.join(wanted)}"

    def _against_name(self, subject: Subject) -> str | None:
        if self.suffix and subject.suffix not in self.suffix:
            return f"suffix: not {' or '.join(self.suffix)}"
        if self.glob and not glob_matches(self.glob, subject.key):
            return f"glob: does not match {self.glob}"
        return None

    def _against_size(self, size_bytes: int | None) -> str | None:
        if self.min_size is None and self.max_size is None:
            return None
        if size_bytes is None:
            return "size: unknown, and the rendition asks for one"
        if self.min_size is not None and size_bytes < self.min_size:
            return f"size: below {self.min_size} bytes"
        if self.max_size is not None and size_bytes > self.max_size:
            return f"size: above {self.max_size} bytes"
        return None
