"""The options of each kind of job, as Ittybit documents them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ittybatch.ittybit.times import seconds_by_clock, seconds_with_units

# More than any codec supports.
_MAX_SIDE_PX = 65_536
_MAX_IMAGE_SIDE_PX = 8192
_MAX_MEDIA_S = 10_000_000
_PERCENT = re.compile(r"(\d{1,4}(?:\.\d{1,4})?)\s*%")
_CONTAINERS_OF_CODEC = {
    "h264": ("mp4", "mov"),
    "h265": ("mp4", "mov"),
    "vp9": ("webm",),
    "av1": ("mp4", "webm"),
}


def _not_bool(value: object) -> object:
    """Refuse booleans: pydantic reads True as 1, but `width: true` does not mean one pixel."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")  # noqa: TRY004 - for pydantic
    return value


def _in_seconds(value: object) -> object:
    """Read a time like `90s`, `1m30s` or `1:30` as seconds."""
    if not isinstance(value, str):
        return value
    for read in (seconds_by_clock, seconds_with_units):
        if (seconds := read(value)) is not None:
            return seconds
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _percent(value: str) -> str:
    match = _PERCENT.fullmatch(value.strip())
    share = Decimal(match[1]) if match else Decimal(0)
    if share <= 0:
        raise ValueError('a side is a number of pixels or a percentage like "50%"')
    return f"{share.normalize():f}%"


def _plain(value: float) -> float:
    """Write whole numbers as integers, so that 2 and 2.0 are the same option."""
    return int(value) if value.is_integer() else value


Seconds = Annotated[
    float,
    BeforeValidator(_not_bool),
    BeforeValidator(_in_seconds),
    Field(ge=0, le=_MAX_MEDIA_S, allow_inf_nan=False),
    AfterValidator(_plain),
]
FrameRate = Annotated[
    float,
    BeforeValidator(_not_bool),
    Field(ge=1, le=60, allow_inf_nan=False),
    AfterValidator(_plain),
]
Pixels = Annotated[int, BeforeValidator(_not_bool), Field(ge=1, le=_MAX_SIDE_PX)]
Percent = Annotated[str, AfterValidator(_percent)]
Side = Annotated[Pixels | Percent, Field(union_mode="left_to_right")]
Quality = Annotated[
    Literal["very_low", "low", "medium", "high", "very_high"], BeforeValidator(_lower)
]
Fit = Annotated[Literal["contain", "cover", "fill"], BeforeValidator(_lower)]
Position = Annotated[
    str, BeforeValidator(_lower), Field(pattern=r"^[a-z]+(?:[ _-][a-z]+)*$", max_length=40)
]
Colour = Annotated[
    str, BeforeValidator(_lower), Field(pattern=r"^#(?:[0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})$")
]
ConnectionId = Annotated[str, Field(pattern=r"^[\x21-\x7e]+$", max_length=200)]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Options that are valid alone but not together; `field` is the one to change."""

    field: str
    problem: str
    remedy: str
    involved: tuple[str, ...]


class Options(BaseModel):
    """The options of every kind.

    `connection_id` is Ittybit's connection to the bucket of an `s3://` input or output.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection_id: ConnectionId | None = None
    quality: Quality | None = None

    def conflicts(self) -> Iterator[Conflict]:
        """All conflicts between options."""
        yield from ()

    def canonical(self) -> dict[str, Any]:
        """The options that were set, sorted by name."""
        return dict(sorted(self.model_dump(exclude_none=True).items()))


class Frame(Options):
    """The options of every kind with a picture."""

    largest_side_px: ClassVar[int] = _MAX_SIDE_PX

    width: Side | None = None
    height: Side | None = None
    fit: Fit | None = None
    position: Position | None = None
    background: Colour | None = None

    def conflicts(self) -> Iterator[Conflict]:
        """A background needs `fit: contain`; sides have a maximum."""
        if self.background is not None and self.fit != "contain":
            yield Conflict(
                "background",
                "A background is only used with fit: contain.",
                "Set fit: contain, or remove background.",
                ("background", "fit"),
            )
        for name, side in (("width", self.width), ("height", self.height)):
            if isinstance(side, int) and side > self.largest_side_px:
                yield Conflict(
                    name,
                    f"A side may have at most {self.largest_side_px} pixels.",
                    f"Use {self.largest_side_px} or less.",
                    (name,),
                )

    def canonical(self) -> dict[str, Any]:
        """The options that were set; `fit` is added because Ittybit's default is unclear."""
        found = super().canonical()
        if "width" in found and "height" in found:
            found.setdefault("fit", "fill")
        return dict(sorted(found.items()))


class Clip(Options):
    """The options that select a part of the input, in seconds."""

    start: Seconds | None = None
    end: Seconds | None = None

    def conflicts(self) -> Iterator[Conflict]:
        """`end` must be after `start`."""
        yield from super().conflicts()
        if self.end is not None and self.end <= (self.start or 0):
            yield Conflict(
                "end",
                f"The clip ends at {self.end:g} s, not after its start at {self.start or 0:g} s.",
                "Set end to a time after start, in seconds.",
                ("start", "end"),
            )


class VideoOptions(Clip, Frame):
    """Options of a `video` job: one file, mp4 by default."""

    format: Annotated[Literal["mp4", "webm", "mov"], BeforeValidator(_lower)] | None = None
    codec: Annotated[Literal["h264", "h265", "vp9", "av1"], BeforeValidator(_lower)] | None = None
    fps: FrameRate | None = None
    bitrate: Annotated[int, BeforeValidator(_not_bool), Field(ge=300_000, le=60_000_000)] | None = (
        None
    )

    def conflicts(self) -> Iterator[Conflict]:
        """The container must support the codec."""
        yield from super().conflicts()
        containers = _CONTAINERS_OF_CODEC.get(self.codec or "")
        if containers and (self.format or "mp4") not in containers:
            container = self.format or "mp4, the default format,"
            yield Conflict(
                "codec",
                f"{container} does not support {self.codec}.",
                f"Set format: {' or '.join(containers)}, or another codec.",
                ("codec", "format"),
            )


class AudioOptions(Clip):
    """Options of an `audio` job: one file, mp3 by default."""

    format: (
        Annotated[Literal["mp3", "aac", "ogg", "opus", "wav", "flac"], BeforeValidator(_lower)]
        | None
    ) = None
    bitrate: Annotated[int, BeforeValidator(_not_bool), Field(ge=32_000, le=320_000)] | None = None


class ImageOptions(Frame):
    """Options of an `image` job: a picture, or the frame of a video at `start` seconds."""

    largest_side_px: ClassVar[int] = _MAX_IMAGE_SIDE_PX

    format: Annotated[Literal["jpeg", "png", "webp", "avif"], BeforeValidator(_lower)] | None = None
    start: Seconds | None = None


class AnimationOptions(Clip, Frame):
    """Options of an `animation` job: a moving picture without sound."""

    format: Annotated[Literal["gif", "webp"], BeforeValidator(_lower)] | None = None
    fps: FrameRate | None = None

    def conflicts(self) -> Iterator[Conflict]:
        """An animation needs an end; without one it is as long as its input."""
        yield from super().conflicts()
        if self.end is None:
            yield Conflict(
                "end",
                "An animation needs an end.",
                "Set end to a time in seconds, for example end: 5.",
                ("end",),
            )


class AdaptiveVideoOptions(Clip, Frame):
    """Options of an `adaptive_video` job: an HLS package."""

    format: Annotated[Literal["hls"], BeforeValidator(_lower)] | None = None
