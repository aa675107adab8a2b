"""Computes outputs for sandboxes that do not encode."""

import mimetypes
import zlib
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ittybit_sandbox.jobs import MediaFile
from ittybit_sandbox.media.audio import LOSSLESS, rate_bps
from ittybit_sandbox.media.geometry import Size, target_size
from ittybit_sandbox.media.video import EVEN
from ittybit_sandbox.options import (
    OPTIONS,
    AdaptiveOptions,
    AnimationOptions,
    AudioOptions,
    ImageOptions,
    MediaOptions,
    VideoOptions,
)
from ittybit_sandbox.validation import JobRequest
from ittybit_sandbox.vocabulary import JOB_KINDS

_SOURCE: Final = Size(1920, 1080)
_MIN_LENGTH_S: Final = 5
_LENGTH_RANGE_S: Final = 120
_BYTES_PER_PIXEL: Final = 0.2
_BITS_PER_PIXEL: Final = 2.5
_LOSSLESS_BPS: Final = 1_411_200


def estimate_output(job_id: str, request: JobRequest, base_url: str) -> MediaFile:
    """Compute a plausible output, the same for equal requests; store nothing."""
    facts = MediaFile(format="mp4", size=0)
    if request.kind in JOB_KINDS:
        facts = _facts(OPTIONS[request.kind].model_validate(request.options), request.input)
    extension = {"hls": "m3u8", "jpeg": "jpg"}.get(facts["format"], facts["format"])
    url = request.output or f"{base_url}/files/{job_id}/output.{extension}"
    return MediaFile(url=url, kind=request.kind) | facts


def estimate_input(request: JobRequest) -> MediaFile:
    """Compute the plausible input that the estimated outputs are made from."""
    path = urlsplit(request.input).path
    media = _media_of(path)
    facts = MediaFile(url=request.input, kind=media, format=Path(path).suffix.lower()[1:] or "mp4")
    if media != "audio":
        facts |= {"width": _SOURCE.width, "height": _SOURCE.height}
    if media != "image":
        facts |= {"duration": float(_length_s(request.input))}
    return facts


def _media_of(path: str) -> str:
    guess = mimetypes.guess_type(path)[0] or ""
    family = guess.partition("/")[0]
    # FFmpeg reads a GIF as a film, with any number of pictures.
    return family if family in {"audio", "image"} and guess != "image/gif" else "video"


def _length_s(url: str) -> int:
    return _MIN_LENGTH_S + zlib.crc32(urlsplit(url).path.encode()) % _LENGTH_RANGE_S


def _facts(options: MediaOptions, url: str) -> MediaFile:
    source_s = _length_s(url)
    if isinstance(options, ImageOptions):
        size = target_size(options, _SOURCE)
        size_bytes = round(size.width * size.height * _BYTES_PER_PIXEL)
        form = options.format or "jpeg"
        return MediaFile(format=form, width=size.width, height=size.height, size=size_bytes)
    start_s = min(options.start or 0, source_s)
    duration_s = round(min(options.end or source_s, source_s) - start_s, 3)
    if isinstance(options, AudioOptions):
        audio_bps = _LOSSLESS_BPS if options.format in LOSSLESS else rate_bps(options)
        size_bytes = round(duration_s * audio_bps / 8)
        return MediaFile(format=options.format, duration=duration_s, size=size_bytes)
    step = 1 if isinstance(options, AnimationOptions) else EVEN
    size = target_size(options, _SOURCE, step)
    bps = _video_bps(options, size)
    return MediaFile(
        format=options.container if isinstance(options, VideoOptions) else options.format,
        width=size.width,
        height=size.height,
        duration=duration_s,
        size=round(duration_s * bps / 8),
    )


def _video_bps(options: VideoOptions | AnimationOptions | AdaptiveOptions, size: Size) -> float:
    if isinstance(options, VideoOptions) and options.bitrate is not None:
        return options.bitrate
    return size.width * size.height * _BITS_PER_PIXEL
