"""Reads a media file from standard input and prints its streams as JSON.

It runs as a separate process: the input is untrusted, and a crash or a hang of a demuxer ends only
this process. Only the file itself may be opened, not what it refers to. The script imports nothing
of the sandbox, so that it starts quickly.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.container import InputContainer
from av.video.format import VideoFormat
from av.video.stream import VideoStream
from PIL import Image

# If the first picture is not within these packets, the values in the header count.
_FIRST_PICTURE_WITHIN_PACKETS = 300
_BOX_OF_64_BITS = 1
_BOX_HEAD_BYTES = 8
# What may stand at the top level: ISO/IEC 14496-12, and QuickTime's `wide`, `skip` and `pnot`.
_BOXES = frozenset(
    b"ftyp styp moov moof mfra mdat imda meta meco free skip wide pnot uuid sidx ssix prft emsg "
    b"pdin udta PICT junk".split()
)
_PROTOCOLS = {"protocol_whitelist": "fd"}


def inspect(file: BinaryIO, max_pixels: int) -> dict[str, Any]:
    """Describe a file: its container and its streams, measured by their packets.

    Args:
        file: The file, at its beginning.
        max_pixels: Larger pictures are not decoded.

    Raises:
        av.FFmpegError: The file is not media.
    """
    with _opened(file) as container:
        streams = [_declared(stream) for stream in container.streams]
        begins_s = (container.start_time or 0) / av.time_base
        _measure(container, streams, begins_s)
        found: dict[str, Any] = {
            "format": container.format.name,
            "declared_s": _seconds(container.duration, Fraction(1, av.time_base)),
            "streams": streams,
        }
    declared_in_header = _HEADERS.get(found["format"])
    if declared_in_header is not None:
        found["declared_s"] = declared_in_header(file, found["declared_s"])
    found["incomplete"] = found["format"].startswith("mov,") and _is_torn(file)
    if all(each["type"] == "video" and each["packets"] == 1 for each in streams):
        found["incomplete"] |= _look_at_picture(file, streams[0], max_pixels)
    first = next((each for each in streams if each["moving"]), None)
    if first is not None:
        file.seek(0)
        first |= _first_picture(file, first["index"], max_pixels)
    return found


def _opened(file: BinaryIO) -> InputContainer:
    return av.open(file, "r", options=_PROTOCOLS)


def _declared(stream: Any) -> dict[str, Any]:  # noqa: ANN401  any kind of stream
    found: dict[str, Any] = {
        "index": stream.index,
        "type": stream.type,
        "declared_s": _seconds(stream.duration, stream.time_base),
        "ends_s": None,
        "packets": 0,
        "moving": False,
    }
    if stream.type == "video":
        codec = stream.codec_context
        cover = bool(stream.disposition & type(stream.disposition).attached_pic)
        aspect = stream.sample_aspect_ratio
        found |= {
            "codec": codec.name if codec else None,
            "cover": cover,
            "moving": codec is not None and not cover,
            "width": codec.width if codec else 0,
            "height": codec.height if codec else 0,
            "aspect": float(aspect) if aspect else 1.0,
            "transfer": int(codec.color_trc or 0) if codec else 0,
            "alpha": bool(codec and codec.format and _has_alpha(codec.format)),
            "alpha_beside": stream.metadata.get("alpha_mode") == "1",
            "is_alpha": stream.metadata.get("title") == "Alpha",
            "rotation_deg": 0,
        }
    elif stream.type == "audio":
        codec = stream.codec_context
        found |= {
            "codec": codec.name if codec else None,
            "layout": codec.layout.name if codec else None,
            "channels": codec.channels if codec else 0,
        }
    return found


def _measure(container: InputContainer, streams: list[dict[str, Any]], begins_s: float) -> None:
    """Read every packet and record the end of each stream."""
    rates = {
        stream.index: float(stream.average_rate)
        for stream in container.streams
        if isinstance(stream, VideoStream) and stream.average_rate
    }
    with suppress(av.FFmpegError):
        for packet in container.demux():
            if packet.size == 0:
                continue
            found = streams[packet.stream_index]
            found["packets"] += 1
            moment = packet.pts if packet.pts is not None else packet.dts
            if moment is None or packet.time_base is None:
                continue
            end_s = float(moment * packet.time_base) - begins_s
            if packet.duration:
                end_s += float(packet.duration * packet.time_base)
            elif packet.stream_index in rates:
                end_s += 1 / rates[packet.stream_index]
            found["ends_s"] = max(found["ends_s"] or 0.0, end_s)


def _is_torn(file: BinaryIO) -> bool:
    """Return whether the last box of an MP4, MOV or AVIF extends beyond the end of the file."""
    size = file.seek(0, os.SEEK_END)
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == _BOX_OF_64_BITS:
            length = int.from_bytes(head[8:], "big")
        # Length 0 means the rest of the file; other lengths below 8 are invalid. Behind the boxes,
        # cameras and editors append data of their own.
        if length < _BOX_HEAD_BYTES or head[4:8] not in _BOXES:
            return False
        at += length
    return at > size


def _look_at_picture(file: BinaryIO, stream: dict[str, Any], max_pixels: int) -> bool:
    """Return whether a picture lacks a part of its data; fill in the facts about an animated WebP.

    FFmpeg paints missing data grey, and PyAV cannot decode an animated WebP. Pillow detects the
    first and decodes the second.
    """
    Image.MAX_IMAGE_PIXELS = max_pixels
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head.startswith(b"RIFF") and int.from_bytes(head[4:8], "little") + 8 > size:
        return True
    file.seek(0)
    try:
        with Image.open(file) as picture:
            picture.load()
            frames = getattr(picture, "n_frames", 1)
            if picture.format == "WEBP" and frames > 1:
                shown_ms = 0
                for number in range(frames):
                    picture.seek(number)
                    picture.load()
                    shown_ms += int(picture.info.get("duration", 0))
                stream |= {
                    "width": picture.width,
                    "height": picture.height,
                    "packets": frames,
                    "ends_s": shown_ms / 1000,
                    "alpha": "A" in picture.mode,
                }
    except OSError as error:
        return "truncated" in str(error)
    except (Image.DecompressionBombError, SyntaxError, ValueError):
        # Pillow is stricter than FFmpeg; for these errors, FFmpeg decides.
        return False
    return False


def _wav_declares(file: BinaryIO, found_s: float | None) -> float | None:
    """Read the length in a WAV header; the demuxer shortens it to the size of the file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(8)
    declared = int.from_bytes(head[4:8], "little") + 8
    # A recorder that crashed leaves 0 or the maximum in the field.
    unknown = not head.startswith(b"RIFF") or declared in {8, 2**32 + 7}
    return found_s if unknown or found_s is None or not size else found_s * declared / size


def _avi_declares(file: BinaryIO, _found_s: float | None) -> float | None:
    """Read the length in an AVI header; the demuxer scales it to the size of the file."""
    file.seek(0)
    _, found, header = file.read(4096).partition(b"avih")
    if not found:
        return None
    frame_us, frames = (int.from_bytes(header[at : at + 4], "little") for at in (4, 20))
    return frame_us * frames / 1e6 or None


def _mp3_declares(file: BinaryIO, found_s: float | None) -> float | None:
    """Return the length only if the first frame holds it; otherwise the demuxer guessed it."""
    file.seek(0)
    head = file.read(10)
    if head.startswith(b"ID3"):
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        file.seek(10 + size)
    first_frame = head + file.read(2048)
    return found_s if any(tag in first_frame for tag in (b"Xing", b"Info", b"VBRI")) else None


_HEADERS: dict[str, Callable[[BinaryIO, float | None], float | None]] = {
    "avi": _avi_declares,
    "mp3": _mp3_declares,
    "wav": _wav_declares,
}


def _first_picture(file: BinaryIO, index: int, max_pixels: int) -> dict[str, Any]:
    """Read rotation, transparency and transfer function from the first decoded picture."""
    # If it cannot be decoded, the encoder reports the error.
    with suppress(av.FFmpegError, ValueError), _opened(file) as container:
        stream = next(each for each in container.streams.video if each.index == index)
        stream.codec_context.options = {"max_pixels": str(max_pixels)}
        for number, packet in enumerate(container.demux(stream)):
            for frame in packet.decode():
                return {
                    "rotation_deg": frame.rotation,
                    "alpha": _has_alpha(frame.format),
                    "transfer": int(frame.color_trc or 0),
                }
            if number >= _FIRST_PICTURE_WITHIN_PACKETS:
                break
    return {}


def _has_alpha(form: VideoFormat) -> bool:
    # A palette can contain a transparent colour.
    return form.has_palette or any(component.is_alpha for component in form.components)


def _seconds(value: int | None, base: Fraction | None) -> float | None:
    return None if value is None or base is None else float(value * base)


def main() -> int:
    """Inspect standard input; the first argument is the maximum number of pixels."""
    av.logging.set_level(av.logging.ERROR)
    with av.logging.Capture() as log:
        try:
            found = inspect(sys.stdin.buffer, int(sys.argv[1]))
        except (av.FFmpegError, ValueError) as error:
            # A line with a path may repeat text of a hostile input.
            reasons = [text.strip() for _, _, text in log if text.strip() and "/" not in text]
            reason = getattr(error, "strerror", None) or "its header is invalid"
            sys.stdout.write(json.dumps({"error": (reasons or [reason])[-1]}))
            return 1
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
