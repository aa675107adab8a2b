"""Runs FFmpeg on untrusted inputs with limits on time, threads and protocols.

FFmpeg gets the input as an open file (`fd:`) and may use no other protocol for reading. So an input
cannot make it open anything else, such as the entries of a playlist: no local file and no URL.
"""

import asyncio
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from ittybit_sandbox.errors import ConfigurationError, JobFailure
from ittybit_sandbox.options import MAX_EDGE_PX
from ittybit_sandbox.vocabulary import ErrorKind

_MAX_LOG_BYTES: Final = 65_536
_MAX_REASON_CHARS: Final = 300
_MAX_OUTPUT_BYTES: Final = 8 * 1024**3
_SOURCE_TAG: Final = re.compile(r"^(\[[^\]]*\]\s*)+")
_EMPTY: Final = "Output file is empty"
_ONE_PNG: Final = ("-frames:v", "1", "-c:v", "png", "-update", "1", "-f", "image2")
_UNINFORMATIVE: Final = (
    "Conversion failed",
    "Error opening input file",
    "Error opening output file",
    "Last message repeated",
    "At least one output file",
    "Task finished with error",
    "Terminating thread",
    "Nothing was written",
    "Could not open encoder before EOF",
    "Error while opening encoder",
    "Error sending frames to consumers",
)


class EmptyOutput(JobFailure):
    """The input has no frame or sample at the requested time."""


@dataclass(frozen=True, slots=True)
class Command:
    """FFmpeg's options before and after the input."""

    before_input: tuple[str, ...] = ()
    after_input: tuple[str, ...] = ()


@cache
def ffmpeg_path() -> str:
    """Return the path of the FFmpeg that imageio-ffmpeg brings.

    Raises:
        ConfigurationError: imageio-ffmpeg is not installed.
    """
    try:
        import imageio_ffmpeg  # noqa: PLC0415 - instant sandboxes do not need it

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise ConfigurationError(
            "The sandbox cannot encode: ffmpeg is missing.",
            remedy="Install it: pip install imageio-ffmpeg. Or skip encoding with --instant.",
        ) from None


class Ffmpeg:
    """Runs FFmpeg commands.

    Args:
        threads: Threads per command.
        timeout_s: Seconds after which a command is killed.
    """

    def __init__(self, threads: int, timeout_s: float) -> None:
        self.threads = threads
        self._timeout_s = timeout_s

    async def run(
        self, command: Command, *, source: Path, folder: Path, decoder: str | None = None
    ) -> None:
        """Run a command on a file.

        Args:
            command: Its options.
            source: The input.
            folder: Where the output goes.
            decoder: Decoder of the input's video, if not FFmpeg's default one.

        Raises:
            EmptyOutput: The input has no frame or sample at the requested time.
            JobFailure: The input cannot be decoded, or it took too long.
        """
        arguments = (
            *("-loglevel", "error", "-y", "-abort_on", "empty_output"),
            *("-filter_threads", str(self.threads), "-filter_complex_threads", str(self.threads)),
            *command.before_input,
            *(("-c:v", decoder) if decoder else ()),
            *self._input(),
            *("-threads", str(self.threads), "-map_metadata", "-1", "-map_chapters", "-1"),
            *("-fs", str(_MAX_OUTPUT_BYTES)),
            *command.after_input,
        )
        code, log = await self._execute(arguments, source, folder, self._timeout_s)
        if code > 0 and _EMPTY in log:
            raise EmptyOutput(
                ErrorKind.INVALID_INPUT, "the input has nothing at the requested time"
            )
        if code < 0:
            message = f"signal {-code} ended the encoder"
            raise JobFailure(ErrorKind.INTERNAL_ERROR, message)
        if code > 0:
            raise JobFailure(
                ErrorKind.INVALID_INPUT, f"could not encode the input: {error_line(log)}"
            )

    async def stitch(self, source: Path, to: Path) -> None:
        """Join a grid of tiles into one picture, with its rotation applied.

        Without `-map`, FFmpeg takes the whole picture; every stream that `-map` can name is a tile.

        Raises:
            JobFailure: The input cannot be decoded, or it took too long.
        """
        await self.run(Command((), ("-an", *_ONE_PNG, to.name)), source=source, folder=to.parent)

    async def merge_alpha(self, source: Path, to: Path, *, colour: int, alpha: int) -> None:
        """Make one picture of two streams: its colours and its transparency.

        Raises:
            JobFailure: The input cannot be decoded, or it took too long.
        """
        graph = ("-filter_complex", f"[0:{colour}][0:{alpha}]alphamerge")
        await self.run(Command((), (*graph, *_ONE_PNG, to.name)), source=source, folder=to.parent)

    def _input(self) -> tuple[str, ...]:
        pixels = str(MAX_EDGE_PX**2)
        limits = ("-threads", str(self.threads), "-max_pixels", pixels)
        return (*limits, "-protocol_whitelist", "fd", "-i", "fd:")

    async def _execute(
        self, arguments: tuple[str, ...], source: Path, folder: Path, timeout_s: float
    ) -> tuple[int, str]:
        with source.open("rb") as file:
            # A new session, so that Ctrl-C reaches only the sandbox, which then kills FFmpeg.
            process = await asyncio.create_subprocess_exec(
                ffmpeg_path(),
                *("-hide_banner", "-nostdin", *arguments),
                stdin=file,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd=folder,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(timeout_s):
                log = await _tail(process)
                return await process.wait(), log
        except TimeoutError:
            message = f"encoding took longer than {timeout_s:g} s"
            raise JobFailure(ErrorKind.INTERNAL_ERROR, message) from None
        finally:
            if process.returncode is None:
                process.kill()
                await asyncio.shield(process.wait())


def error_line(log: str) -> str:
    """Return the last line of a log that gives a reason, without memory addresses."""
    lines = [_SOURCE_TAG.sub("", line).strip() for line in re.split(r"[\r\n]+", log)]
    telling = [line for line in lines if line and not line.startswith(_UNINFORMATIVE)]
    return (telling or ["ffmpeg gave no reason"])[-1][:_MAX_REASON_CHARS]


async def _tail(process: asyncio.subprocess.Process) -> str:
    kept = b""
    if process.stderr is not None:
        while chunk := await process.stderr.read(_MAX_LOG_BYTES):
            kept = (kept + chunk)[-_MAX_LOG_BYTES:]
    return kept.decode(errors="replace")
