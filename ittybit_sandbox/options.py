"""The options of each kind of job, as Ittybit's reference lists them.

Unknown options are ignored, as in the API. So is `connection_id`: the sandbox uses its own
credentials for S3.
"""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ittybit_sandbox.vocabulary import Codec, Fit, Kind, Quality

MAX_EDGE_PX: Final = 8192
_PERCENT: Final = re.compile(r"\d{1,4}(\.\d{1,4})?%")
_HEX: Final = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")
_POSITIONS: Final = frozenset({"center", "top", "bottom", "left", "right"})
_CONTAINERS: Final[dict[Codec, frozenset[str]]] = {
    Codec.H264: frozenset({"mp4", "mov"}),
    Codec.H265: frozenset({"mp4", "mov"}),
    Codec.VP9: frozenset({"webm"}),
    Codec.AV1: frozenset({"mp4", "webm"}),
}


def _check_dimension(value: object) -> object:
    if isinstance(value, str) and _PERCENT.fullmatch(value) and float(value[:-1]) > 0:
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_EDGE_PX:
        return value
    raise ValueError(f'must be pixels from 1 to {MAX_EDGE_PX} or a percentage such as "50%"')


def _check_background(value: str) -> str:
    if not _HEX.fullmatch(value):
        raise ValueError('must be a hex colour such as "#000000"')
    return value


def _check_position(value: str) -> str:
    words = re.split(r"[-_ ]+", value)
    if not words or any(word not in _POSITIONS for word in words):
        raise ValueError("must be center, top, bottom, left, right or a corner such as top-left")
    return "-".join(words)


Dimension = Annotated[int | str, BeforeValidator(_check_dimension)]
Background = Annotated[str, AfterValidator(_check_background)]
Position = Annotated[str, AfterValidator(_check_position)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FramesPerSecond = Annotated[float, Field(ge=1, le=60)]


class Options(BaseModel):
    """Options of every kind."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    quality: Quality | None = None


class Trimmed(Options):
    """Options of kinds with a timeline; `start` and `end` are in seconds."""

    start: Seconds | None = None
    end: Seconds | None = None

    @model_validator(mode="after")
    def _end_follows_start(self) -> Self:
        if self.end is not None and self.end <= (self.start or 0):
            raise ValueError("end: must be later than start")
        return self

    @property
    def length_s(self) -> float | None:
        """Seconds between `start` and `end`; None without `end`."""
        return None if self.end is None else self.end - (self.start or 0)


class Framed(Options):
    """Options of kinds with a picture; `background` shows through and around it."""

    width: Dimension | None = None
    height: Dimension | None = None
    fit: Fit | None = None
    position: Position = "center"
    background: Background = "#000000"


class VideoOptions(Framed, Trimmed):
    """Options of kind `video`; `bitrate` is in bits a second."""

    format: Literal["mp4", "webm", "mov"] | None = None
    codec: Codec | None = None
    fps: FramesPerSecond | None = None
    bitrate: Annotated[int, Field(ge=300_000, le=60_000_000)] | None = None

    @model_validator(mode="after")
    def _codec_fits_container(self) -> Self:
        if self.codec and self.format and self.format not in _CONTAINERS[self.codec]:
            fitting = " or ".join(sorted(_CONTAINERS[self.codec]))
            raise ValueError(f"codec: {self.codec} needs format {fitting}, not {self.format}")
        return self

    @property
    def container(self) -> str:
        """The format, or the default format of the codec."""
        return self.format or ("webm" if self.codec is Codec.VP9 else "mp4")

    @property
    def video_codec(self) -> Codec:
        """The codec, or the default codec of the format."""
        return self.codec or (Codec.VP9 if self.format == "webm" else Codec.H264)


class AudioOptions(Trimmed):
    """Options of kind `audio`; `bitrate` is in bits a second."""

    format: Literal["mp3", "aac", "ogg", "opus", "wav", "flac"] = "mp3"
    bitrate: Annotated[int, Field(ge=32_000, le=320_000)] | None = None


class ImageOptions(Framed):
    """Options of kind `image`; `start` is the time of a video's frame, in seconds."""

    format: Literal["jpeg", "png", "webp", "avif"] | None = None
    start: Seconds | None = None


class AnimationOptions(Framed, Trimmed):
    """Options of kind `animation`."""

    format: Literal["gif", "webp"] = "gif"
    fps: FramesPerSecond = 10


class AdaptiveOptions(Framed, Trimmed):
    """Options of kind `adaptive_video`."""

    format: Literal["hls"] = "hls"
    fps: FramesPerSecond | None = None


MediaOptions = VideoOptions | AudioOptions | ImageOptions | AnimationOptions | AdaptiveOptions

OPTIONS: Final[dict[Kind, type[MediaOptions]]] = {
    Kind.VIDEO: VideoOptions,
    Kind.AUDIO: AudioOptions,
    Kind.IMAGE: ImageOptions,
    Kind.ANIMATION: AnimationOptions,
    Kind.ADAPTIVE_VIDEO: AdaptiveOptions,
}
