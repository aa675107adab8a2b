"""Which items a rendition is made for."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ittybatch.ittybit.options import Kind
from ittybatch.profiles.glob import glob_matches
from ittybatch.profiles.media import Media
from ittybatch.profiles.quantities import ByteCount
from ittybatch.profiles.subject import Subject

# The media that each kind can be made from.
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
    """What an item must be like to get a rendition: every given field must match.

    Without `media`, `suffix` and `glob`, an item fits if its suffix names a medium that the
    rendition's kind can be made from.
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
                raise ValueError(f"{suffix!r} is not a file suffix; write .mov")
        return dotted

    @model_validator(mode="after")
    def _possible(self) -> "Condition":
        if None not in (self.min_size, self.max_size) and self.min_size > self.max_size:  # type: ignore[operator]
            raise ValueError(
                f"no size is at least {self.min_size} and at most {self.max_size} bytes"
            )
        return self

    def fits(self, subject: Subject, kind: Kind) -> bool:
        """Say whether an item meets the condition of a rendition of this kind."""
        return (
            self._fits_media(subject, kind)
            and (not self.suffix or subject.suffix in self.suffix)
            and (self.glob is None or glob_matches(self.glob, subject.key))
            and self._fits_size(subject.item.size_bytes)
        )

    def _fits_media(self, subject: Subject, kind: Kind) -> bool:
        if self.media:
            return subject.media in self.media
        if self.suffix or self.glob:
            return True
        # Whoever lists an item in a manifest knows what it is.
        if subject.media is None and subject.item.line is not None:
            return True
        return subject.media in SOURCES_OF_KIND[kind]

    def _fits_size(self, size_bytes: int | None) -> bool:
        if self.min_size is None and self.max_size is None:
            return True
        if size_bytes is None:
            return False
        too_small = self.min_size is not None and size_bytes < self.min_size
        too_large = self.max_size is not None and size_bytes > self.max_size
        return not too_small and not too_large
