"""What every kind of output has in common: a name, commands, and the input's fitness."""

from dataclasses import dataclass

from ittybit_sandbox.errors import JobFailure
from ittybit_sandbox.media.ffmpeg import Command
from ittybit_sandbox.media.geometry import Size
from ittybit_sandbox.media.probe import Probed
from ittybit_sandbox.options import Trimmed
from ittybit_sandbox.vocabulary import ErrorKind


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one output; a command is tried when those before it found nothing."""

    format: str
    file_name: str
    commands: tuple[Command, ...]


def require_picture(probed: Probed) -> Size:
    """Return the size of the input's picture.

    Raises:
        JobFailure: It has none.
    """
    if not probed.has_video or not probed.width or not probed.height:
        raise JobFailure(ErrorKind.INVALID_INPUT, "the input has no video")
    return Size(probed.width, probed.height)


def require_sound(probed: Probed) -> None:
    """Insist on an audio stream.

    Raises:
        JobFailure: The input has none.
    """
    if not probed.has_audio:
        raise JobFailure(ErrorKind.INVALID_INPUT, "the input has no audio")


def require_moment(probed: Probed, start_s: float | None) -> None:
    """Insist that the input reaches a moment.

    Raises:
        JobFailure: It ends before.
    """
    if start_s and probed.duration_s is not None and start_s >= probed.duration_s:
        raise JobFailure(
            ErrorKind.INVALID_INPUT,
            f"start is {start_s:g} s, but the input ends at {probed.duration_s:g} s",
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """The asked part of a timeline, as ffmpeg's options before and after the input.

    Where a moment cannot be sought exactly, everything before it is decoded and dropped.
    """

    before_input: tuple[str, ...] = ()
    after_input: tuple[str, ...] = ()


def cut(options: Trimmed, probed: Probed) -> Cut:
    """Take the asked part of the input's timeline.

    Raises:
        JobFailure: The input ends before that part begins, or breaks off within it.
    """
    require_moment(probed, options.start)
    require_whole(probed, options.end)
    start = ("-ss", f"{options.start:.6f}") if options.start else ()
    length = ("-t", f"{options.length_s:.6f}") if options.length_s is not None else ()
    if probed.seekable or not start:
        return Cut(before_input=(*start, *length))
    return Cut(after_input=(*start, *length))


def require_whole(probed: Probed, end_s: float | None) -> None:
    """Insist that the input holds what its header promises, as far as it is asked for.

    Raises:
        JobFailure: It breaks off before.
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
    """Map the stream that is shown: not a cover, and not one that has no decoder."""
    return () if probed.video_index is None else ("-map", f"0:{probed.video_index}")


def sound_stream(probed: Probed) -> tuple[str, ...]:
    """Map the first audio stream that has a decoder, if there is one."""
    return () if probed.audio_index is None else ("-map", f"0:{probed.audio_index}")


def flat_filters(probed: Probed, background: str) -> list[str]:
    """List the filters that bring a picture into the range and colours that every player shows.

    Args:
        probed: The input.
        background: What shines through where it is transparent, as ffmpeg writes colours.
    """
    filters = []
    if probed.has_alpha:
        filters.append(
            f"format=rgba,split[under][over];[under]drawbox=c={background}:t=fill:replace=1[under];"
            "[under][over]overlay=format=auto"
        )
    return [*filters, *sdr_filters(probed)]


def sdr_filters(probed: Probed) -> list[str]:
    """List the filters that map high dynamic range to BT.709; none for what is within it."""
    if probed.hdr_transfer is None:
        return []
    source = f"tin={probed.hdr_transfer}:min=bt2020nc:pin=bt2020"
    return [
        f"zscale={source}:t=linear:npl=100,format=gbrpf32le,zscale=p=bt709",
        "tonemap=tonemap=hable:desat=0",
        "zscale=t=bt709:m=bt709:r=tv,format=yuv420p",
    ]


def stereo(probed: Probed) -> tuple[str, ...]:
    """Give the options that mix the sound down to stereo.

    Of a set of speakers that has no usual mix, the first two channels are taken.
    """
    if not probed.odd_channels:
        return ("-ac", "2")
    right = min(probed.odd_channels, 2) - 1
    return ("-af", f"channelmap=map=0|{right}:channel_layout=stereo")
