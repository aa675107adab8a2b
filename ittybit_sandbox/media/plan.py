"""What all kinds of output share: the recipe, checks of the input, and common filters."""

from dataclasses import dataclass
from typing import Final

from ittybit_sandbox.errors import JobFailure
from ittybit_sandbox.media.ffmpeg import Command
from ittybit_sandbox.media.geometry import Size
from ittybit_sandbox.media.probe import Probed
from ittybit_sandbox.options import Trimmed
from ittybit_sandbox.vocabulary import ErrorKind

FRAME_LIST: Final = "frames.txt"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one output.

    Args:
        format: Its format.
        file_name: Its name.
        commands: Each is a fallback for an empty output of the one before.
        listing: Writes a line to `FRAME_LIST` for each frame. For formats that merge equal
            frames: a motionless animation has one frame left, and no duration.
        fps: Frames a second in the listing.
    """

    format: str
    file_name: str
    commands: tuple[Command, ...]
    listing: Command | None = None
    fps: float = 1


def require_picture(probed: Probed) -> Size:
    """Return the size of the input's picture.

    Raises:
        JobFailure: The input has no video.
    """
    if not probed.has_video or not probed.width or not probed.height:
        raise JobFailure(ErrorKind.INVALID_INPUT, "the input has no video")
    return Size(probed.width, probed.height)


def require_sound(probed: Probed) -> None:
    """Check that the input has audio.

    Raises:
        JobFailure: The input has no audio.
    """
    if not probed.has_audio:
        raise JobFailure(ErrorKind.INVALID_INPUT, "the input has no audio")


def require_moment(probed: Probed, start_s: float | None) -> None:
    """Check that the input is longer than `start_s`.

    Raises:
        JobFailure: The input ends earlier.
    """
    if start_s and probed.duration_s is not None and start_s >= probed.duration_s:
        raise JobFailure(
            ErrorKind.INVALID_INPUT,
            f"start is {start_s:g} s, but the input ends at {probed.duration_s:g} s",
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """The requested part of a timeline, as FFmpeg's options before and after the input.

    If FFmpeg cannot seek exactly in a format, it decodes from the start and drops the frames.
    """

    before_input: tuple[str, ...] = ()
    after_input: tuple[str, ...] = ()


def cut(options: Trimmed, probed: Probed) -> Cut:
    """Build the options that select the requested part.

    Raises:
        JobFailure: The input ends before the part starts, or breaks off within it.
    """
    require_moment(probed, options.start)
    require_whole(probed, options.end)
    start = ("-ss", f"{options.start:.6f}") if options.start else ()
    length = ("-t", f"{options.length_s:.6f}") if options.length_s is not None else ()
    if probed.seekable or not start:
        return Cut(before_input=(*start, *length))
    return Cut(after_input=(*start, *length))


def require_whole(probed: Probed, end_s: float | None) -> None:
    """Check that the input is complete up to `end_s`.

    Raises:
        JobFailure: The input breaks off earlier.
    """
    if not probed.breaks_off or probed.duration_s is None:
        return
    if end_s is None or end_s > probed.duration_s:
        declared = (
            f" of the {probed.declared_s:.1f} s that its header declares"
            if probed.is_shorter_than_declared
            else ""
        )
        message = f"the input breaks off after {probed.duration_s:.1f} s{declared}"
        raise JobFailure(ErrorKind.INVALID_INPUT, f"{message}; upload it again")


def picture_stream(probed: Probed) -> tuple[str, ...]:
    """Map the main video stream: not a cover, and not one without a decoder."""
    return () if probed.video_index is None else ("-map", f"0:{probed.video_index}")


def sound_stream(probed: Probed) -> tuple[str, ...]:
    """Map the first audio stream with a decoder, if the input has one."""
    return () if probed.audio_index is None else ("-map", f"0:{probed.audio_index}")


def flat_filters(probed: Probed, background: str) -> list[str]:
    """Return the filters that remove transparency and high dynamic range.

    Args:
        probed: The input.
        background: The colour behind a transparent picture, in FFmpeg's notation.
    """
    filters = []
    if probed.has_alpha:
        filters.append(
            f"format=rgba,split[under][over];[under]drawbox=c={background}:t=fill:replace=1[under];"
            "[under][over]overlay=format=auto"
        )
    return [*filters, *sdr_filters(probed)]


def sdr_filters(probed: Probed) -> list[str]:
    """Return the filters that map high dynamic range to BT.709; none for SDR."""
    if probed.hdr_transfer is None:
        return []
    source = f"tin={probed.hdr_transfer}:min=bt2020nc:pin=bt2020"
    return [
        f"zscale={source}:t=linear:npl=100,format=gbrpf32le,zscale=p=bt709",
        "tonemap=tonemap=hable:desat=0",
        "zscale=t=bt709:m=bt709:r=tv,format=yuv420p",
    ]


def stereo(probed: Probed) -> tuple[str, ...]:
    """Return the options that mix audio down to stereo.

    From a channel layout without a standard mix, take the first two channels.
    """
    if not probed.odd_channels:
        return ("-ac", "2")
    right = min(probed.odd_channels, 2) - 1
    return ("-af", f"channelmap=map=0|{right}:channel_layout=stereo")
