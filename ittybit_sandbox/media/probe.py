"""Probes media: untrusted inputs in a separate process, our own pictures with Pillow."""

import asyncio
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ittybit_sandbox.errors import JobFailure
from ittybit_sandbox.jobs import MediaFile
from ittybit_sandbox.options import MAX_EDGE_PX
from ittybit_sandbox.vocabulary import ErrorKind

_INSPECTION: Final = Path(__file__).with_name("inspection.py")
_INSPECTION_TIMEOUT_S: Final = 60
_EXTINF: Final = re.compile(r"^#EXTINF:([\d.]+)", re.MULTILINE)
_RESOLUTION: Final = re.compile(r"RESOLUTION=(\d+)x(\d+)")
_MP4: Final = "mov,mp4,m4a,3gp,3g2,mj2"
_MATROSKA: Final = "matroska,webm"
_CONTAINERS: Final = {_MP4: "mp4", _MATROSKA: "webm"}
_STILL_CODECS: Final = {
    "mjpeg": "jpeg",
    "png": "png",
    "webp": "webp",
    "av1": "avif",
    "libdav1d": "avif",
}
_PICTURES: Final = frozenset({"jpeg", "png", "webp", "avif", "gif"})
# These have an index, so seeking is exact. In other formats a seek can land too late.
_INDEXED: Final = frozenset({_MP4, _MATROSKA, "wav", "flac", "avi"})
# The headers of these state the length; in other formats it is a guess from the bit rate.
_DECLARES_LENGTH: Final = frozenset(
    {_MP4, _MATROSKA, "aiff", "avi", "flac", "flv", "mp3", "mxf", "wav"}
)
# These state the length in the header of the file, not per stream.
_DECLARED_BY_FILE: Final = frozenset({"avi", "mp3", "wav"})
# FFmpeg's own decoders of these ignore transparency.
_ALPHA_DECODERS: Final = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_HDR_TRANSFERS: Final = {16: "smpte2084", 18: "arib-std-b67"}
_MOST_NAMED_CHANNELS: Final = 8
_QUARTER_TURN_DEG: Final = 90
_MISSING_S: Final = 1.0
_MISSING_PART: Final = 0.02


@dataclass(frozen=True, slots=True)
class Probed:
    """Facts about an input; width and height with rotation and pixel aspect ratio applied.

    Args:
        format: The container, or the picture's format.
        duration_s: Seconds until the end of its last audio or video packet; None for a picture.
        declared_s: Seconds that its header declares, if it does.
        video_s: Seconds of video.
        audio_s: Seconds of audio.
        width: Width in pixels.
        height: Height in pixels.
        has_video: Whether it has video, not only a picture or a cover.
        has_audio: Whether it has audio.
        cover_only: Whether a cover is its only picture.
        still_format: The format of a picture; None for other media.
        tiled: Whether the picture is a grid of tiles, as in HEIC from phones.
        seekable: Whether FFmpeg can seek in it exactly.
        hdr_transfer: The transfer function of HDR video; None for SDR.
        has_alpha: Whether its picture can be transparent.
        odd_channels: Number of channels if their layout has no standard mix to stereo, else 0.
        video_index: Index of the main video stream.
        audio_index: Index of the first audio stream with a decoder.
        alpha_index: Index of the stream with a picture's transparency, as in AVIF.
        decoder: The decoder of the main video stream, if not FFmpeg's default one.
        incomplete: Whether the file lacks a part of its data, whatever its header declares.
    """

    format: str
    duration_s: float | None
    declared_s: float | None
    video_s: float | None
    audio_s: float | None
    width: int | None
    height: int | None
    has_video: bool
    has_audio: bool
    cover_only: bool
    still_format: str | None
    tiled: bool
    seekable: bool
    hdr_transfer: str | None
    has_alpha: bool
    odd_channels: int
    video_index: int | None
    audio_index: int | None
    alpha_index: int | None
    decoder: str | None
    incomplete: bool

    @property
    def media_kind(self) -> str:
        """Ittybit's kind for it."""
        if self.still_format is not None:
            return "image"
        return "video" if self.has_video else "audio"

    @property
    def breaks_off(self) -> bool:
        """Whether it ends before it should, as an interrupted upload does."""
        return self.incomplete or self.is_shorter_than_declared

    @property
    def is_shorter_than_declared(self) -> bool:
        """Whether it ends long before the time in its header."""
        if self.declared_s is None or self.duration_s is None:
            return False
        return self.declared_s - self.duration_s > max(_MISSING_S, _MISSING_PART * self.declared_s)


async def probe_input(source: Path) -> Probed:
    """Probe an input.

    Raises:
        JobFailure: The input is not readable media.
    """
    found = await _inspect(source)
    if error := found.get("error"):
        raise JobFailure(ErrorKind.INVALID_INPUT, f"could not decode the input: {error}")
    probed = read_inspection(found)
    if probed is None:
        message = "could not decode the input: it has no audio and no video"
        raise JobFailure(ErrorKind.INVALID_INPUT, message)
    return probed


async def describe_output(output: Path, form: str) -> MediaFile:
    """Measure an output.

    Raises:
        JobFailure: The output cannot be read.
    """
    if form in _PICTURES:
        return await asyncio.to_thread(_describe_picture, output, form)
    if form == "hls":
        return await asyncio.to_thread(_describe_playlist, output)
    probed = read_inspection(await _inspect(output))
    if probed is None:
        message = f"the {form} output cannot be read"
        raise JobFailure(ErrorKind.INTERNAL_ERROR, message)
    facts = MediaFile(format=form)
    if probed.width and probed.height:
        facts |= {"width": probed.width, "height": probed.height}
    if probed.duration_s is not None:
        facts["duration"] = probed.duration_s
    facts["size"] = (await asyncio.to_thread(output.stat)).st_size
    return facts


def read_inspection(found: dict[str, Any]) -> Probed | None:
    """Interpret the output of `inspection.py`; None without audio and video."""
    streams = [each for each in found.get("streams", []) if each["packets"]]
    pictures = [each for each in streams if each["type"] == "video" and each["codec"]]
    moving = [each for each in pictures if each["moving"]]
    if len(moving) > 1:
        moving = [each for each in moving if not each["is_alpha"]]
    sounds = [each for each in streams if each["type"] == "audio" and each["codec"]]
    if not pictures and not sounds:
        return None
    container = found["format"]
    still = (
        bool(moving)
        and not sounds
        and found["declared_s"] is None
        and all(each["packets"] == 1 for each in moving)
    )
    shown = (moving or pictures or [None])[0]
    alpha = next((each for each in pictures if each["is_alpha"]), None) if still else None
    codec = pictures[0]["codec"] if pictures else ""
    width, height = _shown_size(shown) if shown else (None, None)
    ends = [each["ends_s"] for each in (*moving, *sounds) if each["ends_s"] is not None]
    return Probed(
        format=_STILL_CODECS.get(codec, codec) if still else _CONTAINERS.get(container, container),
        duration_s=round(max(ends), 3) if ends and not still else None,
        declared_s=_declared_s(found, streams) if container in _DECLARES_LENGTH else None,
        video_s=moving[0]["ends_s"] if moving else None,
        audio_s=sounds[0]["ends_s"] if sounds else None,
        width=width,
        height=height,
        has_video=bool(moving),
        has_audio=bool(sounds),
        cover_only=bool(pictures) and not moving,
        still_format=_STILL_CODECS.get(codec, "png") if still else None,
        tiled=still and len(moving) > 1,
        seekable=container in _INDEXED,
        hdr_transfer=_HDR_TRANSFERS.get(shown["transfer"]) if shown else None,
        has_alpha=bool(shown and (shown["alpha"] or shown["alpha_beside"])),
        odd_channels=_odd_channels(sounds[0]) if sounds else 0,
        video_index=shown["index"] if shown else None,
        audio_index=sounds[0]["index"] if sounds else None,
        alpha_index=alpha["index"] if alpha else None,
        decoder=_ALPHA_DECODERS.get(shown["codec"]) if shown and shown["alpha_beside"] else None,
        incomplete=bool(found.get("incomplete")),
    )


def _declared_s(found: dict[str, Any], streams: list[dict[str, Any]]) -> float | None:
    """Return the declared length of audio and video; subtitles can be longer than both."""
    own = [each["declared_s"] for each in streams if each["type"] in {"video", "audio"}]
    known = [seconds for seconds in own if seconds is not None]
    if found["format"] in _DECLARED_BY_FILE or not known:
        others = [each["ends_s"] or 0 for each in streams if each["type"] not in {"video", "audio"}]
        declared: float | None = found["declared_s"]
        outlasted = declared is not None and any(end >= declared - _MISSING_S for end in others)
        return None if outlasted else declared
    return float(max(known))


def _odd_channels(stream: dict[str, Any]) -> int:
    layout, channels = str(stream["layout"]), int(stream["channels"])
    # FFmpeg puts an unusual layout in brackets and has no mix for it.
    odd = "(" in layout or "ambisonic" in layout or channels > _MOST_NAMED_CHANNELS
    return channels if odd else 0


def _shown_size(stream: dict[str, Any]) -> tuple[int | None, int | None]:
    width, height = stream["width"], stream["height"]
    if not width or not height:
        return None, None
    width = max(round(width * stream["aspect"]), 1)
    if abs(stream["rotation_deg"]) % (2 * _QUARTER_TURN_DEG) == _QUARTER_TURN_DEG:
        width, height = height, width
    return width, height


async def _inspect(source: Path) -> dict[str, Any]:
    """Run `inspection.py` on a file.

    Raises:
        JobFailure: The inspection took too long.
    """
    with source.open("rb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(_INSPECTION), str(MAX_EDGE_PX**2)),
            stdin=file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(_INSPECTION_TIMEOUT_S):
            out, _ = await process.communicate()
    except TimeoutError:
        message = f"probing the input took longer than {_INSPECTION_TIMEOUT_S:g} s"
        raise JobFailure(ErrorKind.INTERNAL_ERROR, message) from None
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    try:
        found: dict[str, Any] = json.loads(out)
    except ValueError:
        return {"error": "its demuxer crashed"}
    return found


def _describe_picture(output: Path, form: str) -> MediaFile:
    from PIL import Image, ImageSequence, UnidentifiedImageError  # noqa: PLC0415 - an extra

    try:
        with Image.open(output) as picture:
            facts = MediaFile(format=form, width=picture.width, height=picture.height)
            if getattr(picture, "is_animated", False):
                shown_ms = 0
                for frame in ImageSequence.Iterator(picture):
                    frame.load()
                    shown_ms += int(frame.info.get("duration", 0))
                facts["duration"] = shown_ms / 1000
    except (UnidentifiedImageError, OSError):
        message = f"the {form} output cannot be read"
        raise JobFailure(ErrorKind.INTERNAL_ERROR, message) from None
    facts["size"] = output.stat().st_size
    return facts


def _describe_playlist(output: Path) -> MediaFile:
    facts = MediaFile(format="hls")
    sizes = [(int(w), int(h)) for w, h in _RESOLUTION.findall(output.read_text())]
    if sizes:
        facts["width"], facts["height"] = max(sizes)
    variants = sorted(path for path in output.parent.glob("*.m3u8") if path != output)
    if variants:
        lengths = _EXTINF.findall(variants[0].read_text())
        facts["duration"] = round(sum(map(float, lengths)), 3)
    facts["size"] = sum(path.stat().st_size for path in output.parent.iterdir())
    return facts
