"""What every kind of output has in common: a name, commands, and the input's fitness."""

from dataclasses import dataclass

from ittybatch.sandbox.errors import JobFailure
from ittybatch.sandbox.media.ffmpeg import Command
from ittybatch.sandbox.media.geometry import Size
from ittybatch.sandbox.media.probe import Probed
from ittybatch.sandbox.options import Trimmed
from ittybatch.sandbox.vocabulary import ErrorKind


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one output; a command is tried when those before it found nothing."""

    format: str
    file_name: str
    commands: tuple[Command, ...]


def need_picture(probed: Probed) -> Size:
    """Return the size of the input's picture.

    Raises:
        JobFailure: It has none.
    """
    if not probed.has_video or not probed.width or not probed.height:
        raise JobFailure(ErrorKind.INVALID_INPUT, "the input has no video")
    return Size(probed.width, probed.height)


def need_sound(probed: Probed) -> None:
    """Insist on an audio stream.

    Raises:
        JobFailure: The input has none.
    """
    if not probed.has_audio:
        raise JobFailure(ErrorKind.INVALID_INPUT, "the input has no audio")


def need_moment(probed: Probed, start_s: float | None) -> None:
    """Insist that the input reaches a moment.

    Raises:
        JobFailure: It ends before.
    """
    if start_s and probed.duration_s is not None and start_s >= probed.duration_s:
        raise JobFailure(
            ErrorKind.INVALID_INPUT,
            f"start is {start_s:g} s, but the input ends at {probed.duration_s:g} s",
        )


def trim(options: Trimmed, probed: Probed) -> tuple[str, ...]:
    """Give the input's options that take the asked part of its timeline.

    Raises:
        JobFailure: The input ends before that part begins.
    """
    need_moment(probed, options.start)
    start = ("-ss", f"{options.start:.6f}") if options.start else ()
    length_s = options.length_s
    return start if length_s is None else (*start, "-t", f"{length_s:.6f}")
