"""Looks at media: untrusted inputs through ffmpeg, pictures we made with Pillow."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ittybatch.sandbox.errors import JobFailure
from ittybatch.sandbox.jobs import MediaFile
from ittybatch.sandbox.media.ffmpeg import Ffmpeg, telling_line
from ittybatch.sandbox.vocabulary import ErrorKind

_INPUT: Final = re.compile(r"^Input #0, (\S+), from", re.MULTILINE)
_DURATION: Final = re.compile(r"^\s*Duration: (\d+):(\d+):(\d+(?:\.\d+)?)", re.MULTILINE)
_TIME: Final = re.compile(r"time=(\d+):(\d+):(\d+(?:\.\d+)?)")
_STREAM: Final = re.compile(r"^\s*Stream #0:\d+\S*: (Video|Audio): (\w+)(.*)$", re.MULTILINE)
_SIZE: Final = re.compile(r", (\d{1,5})x(\d{1,5})\b")
_ASPECT: Final = re.compile(r"\bSAR (\d+):(\d+)")
_ROTATION: Final = re.compile(r"rotation of (-?\d+(?:\.\d+)?) degrees")
_EXTINF: Final = re.compile(r"^#EXTINF:([\d.]+)", re.MULTILINE)
_RESOLUTION: Final = re.compile(r"RESOLUTION=(\d+)x(\d+)")
_CONTAINERS: Final = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "webm"}
_STILL_CODECS: Final = {"mjpeg": "jpeg", "png": "png", "webp": "webp", "av1": "avif"}
_PICTURES: Final = frozenset({"jpeg", "png", "webp", "avif", "gif"})
_QUARTER_TURN_DEG: Final = 90


@dataclass(frozen=True, slots=True)
class Probed:
    """What an input is; width and height as it is shown, rotated and unsqueezed."""

    format: str
    duration_s: float | None
    width: int | None
    height: int | None
    has_video: bool
    has_audio: bool
    cover_only: bool
    still_format: str | None

    @property
    def media_kind(self) -> str:
        """Ittybit's word for it."""
        if self.still_format is not None:
            return "image"
        return "video" if self.has_video else "audio"


async def probe_input(ffmpeg: Ffmpeg, source: Path) -> Probed:
    """Look at an input.

    Raises:
        JobFailure: It is not media that ffmpeg can read.
    """
    log = await ffmpeg.look(source)
    probed = parse_log(log)
    if probed is None:
        message = f"could not decode the input: {telling_line(log)}"
        raise JobFailure(ErrorKind.INVALID_INPUT, message)
    return probed


async def describe_output(ffmpeg: Ffmpeg, made: Path, form: str) -> MediaFile:
    """Measure what was made.

    Raises:
        JobFailure: It is not what it should be.
    """
    if form in _PICTURES:
        return await asyncio.to_thread(_describe_picture, made, form)
    if form == "hls":
        return await asyncio.to_thread(_describe_playlist, made)
    probed = parse_log(await ffmpeg.look(made))
    if probed is None:
        message = f"the {form} that was made cannot be read back"
        raise JobFailure(ErrorKind.INTERNAL_ERROR, message)
    facts = MediaFile(format=form)
    if probed.width and probed.height:
        facts |= {"width": probed.width, "height": probed.height}
    duration_s = probed.duration_s
    if form == "aac":
        # ADTS has no index: only reading it to the end tells how long it is.
        duration_s = _last_time_s(await ffmpeg.count_s(made)) or duration_s
    if duration_s is not None:
        facts["duration"] = duration_s
    facts["size"] = (await asyncio.to_thread(made.stat)).st_size
    return facts


def parse_log(log: str) -> Probed | None:
    """Read what `ffmpeg -i` says; None when it could not open the file or found no streams."""
    opened = _INPUT.search(log)
    streams = _STREAM.findall(log)
    if opened is None or not streams:
        return None
    pictures = [rest for word, _, rest in streams if word == "Video"]
    moving = [rest for rest in pictures if "(attached pic)" not in rest]
    width, height = _shown_size((moving or pictures or [""])[0], log)
    duration = _DURATION.search(log)
    has_audio = any(word == "Audio" for word, _, _ in streams)
    still = bool(moving) and not has_audio and duration is None
    codec = next((name for word, name, _ in streams if word == "Video"), "")
    container = opened[1].rstrip(",")
    return Probed(
        format=_STILL_CODECS.get(codec, codec) if still else _CONTAINERS.get(container, container),
        duration_s=_seconds(duration) if duration else None,
        width=width,
        height=height,
        has_video=bool(moving),
        has_audio=has_audio,
        cover_only=bool(pictures) and not moving,
        still_format=_STILL_CODECS.get(codec, "png") if still else None,
    )


def _shown_size(stream: str, log: str) -> tuple[int | None, int | None]:
    size = _SIZE.search(stream)
    if size is None:
        return None, None
    width, height = int(size[1]), int(size[2])
    aspect = _ASPECT.search(stream)
    if aspect and int(aspect[1]) and int(aspect[2]):
        width = max(round(width * int(aspect[1]) / int(aspect[2])), 1)
    turned = _ROTATION.search(log)
    if turned and round(abs(float(turned[1]))) % (2 * _QUARTER_TURN_DEG) == _QUARTER_TURN_DEG:
        width, height = height, width
    return width or None, height or None


def _seconds(match: re.Match[str]) -> float:
    return round(int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]), 3)


def _last_time_s(log: str) -> float | None:
    times = list(_TIME.finditer(log))
    return _seconds(times[-1]) if times else None


def _describe_picture(made: Path, form: str) -> MediaFile:
    from PIL import Image, ImageSequence, UnidentifiedImageError  # noqa: PLC0415 - an extra

    try:
        with Image.open(made) as picture:
            facts = MediaFile(format=form, width=picture.width, height=picture.height)
            if getattr(picture, "is_animated", False):
                shown_ms = 0
                for frame in ImageSequence.Iterator(picture):
                    frame.load()
                    shown_ms += int(frame.info.get("duration", 0))
                facts["duration"] = shown_ms / 1000
    except (UnidentifiedImageError, OSError):
        message = f"the {form} that was made cannot be read back"
        raise JobFailure(ErrorKind.INTERNAL_ERROR, message) from None
    facts["size"] = made.stat().st_size
    return facts


def _describe_playlist(made: Path) -> MediaFile:
    facts = MediaFile(format="hls")
    sizes = [(int(w), int(h)) for w, h in _RESOLUTION.findall(made.read_text())]
    if sizes:
        facts["width"], facts["height"] = max(sizes)
    variants = sorted(path for path in made.parent.glob("*.m3u8") if path != made)
    if variants:
        lengths = _EXTINF.findall(variants[0].read_text())
        facts["duration"] = round(sum(map(float, lengths)), 3)
    facts["size"] = sum(path.stat().st_size for path in made.parent.iterdir())
    return facts
