"""Runs ffmpeg on untrusted inputs, bounded in time, threads and reach.

The input is handed over as an open file (`fd:`) and no other protocol is allowed for reading,
so whatever an input refers to - a playlist's entries, say - cannot be opened: no local file, no
address in the network.
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

_KEPT_LOG_BYTES: Final = 65_536
_MAX_REASON_CHARS: Final = 300
_MAX_OUTPUT_BYTES: Final = 8 * 1024**3
_SOURCE_TAG: Final = re.compile(r"^(\[[^\]]*\]\s*)+")
_EMPTY: Final = "Output file is empty"
_UNTELLING: Final = (
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
    """There was nothing at the asked place of the input."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to do: options of the input, and everything that follows it."""

    before_input: tuple[str, ...] = ()
    after_input: tuple[str, ...] = ()


@cache
def ffmpeg_path() -> str:
    """Find the ffmpeg of the wheel.

    Raises:
        ConfigurationError: There is none.
    """
    try:
        import imageio_ffmpeg  # noqa: PLC0415 - an extra: instant sandboxes do without it

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise ConfigurationError(
            "The sandbox has no ffmpeg to encode with.",
            remedy="Install it: pip install imageio-ffmpeg. Or skip encoding with --instant.",
        ) from None


class Ffmpeg:
    """Runs commands one at a time for each caller.

    Args:
        threads: How many each command may use.
        timeout_s: When a command is killed.
    """

    def __init__(self, threads: int, timeout_s: float) -> None:
        self.threads = threads
        self._timeout_s = timeout_s

    async def run(self, command: Command, *, source: Path, folder: Path) -> None:
        """Make something of a file, in a folder.

        Raises:
            EmptyOutput: No frame or sample was there to be encoded.
            JobFailure: The input cannot be used, or it took too long.
        """
        arguments = (
            *("-loglevel", "error", "-y", "-abort_on", "empty_output"),
            *("-filter_threads", str(self.threads), "-filter_complex_threads", str(self.threads)),
            *command.before_input,
            *self._input(),
            *("-threads", str(self.threads), "-map_metadata", "-1", "-map_chapters", "-1"),
            *("-fs", str(_MAX_OUTPUT_BYTES)),
            *command.after_input,
        )
        code, log = await self._execute(arguments, source, folder, self._timeout_s)
        if code > 0 and _EMPTY in log:
            raise EmptyOutput(ErrorKind.INVALID_INPUT, "the input has nothing at the asked time")
        if code < 0:
            message = f"the encoder was ended by signal {-code}"
            raise JobFailure(ErrorKind.INTERNAL_ERROR, message)
        if code > 0:
            raise JobFailure(
                ErrorKind.INVALID_INPUT, f"could not encode the input: {telling_line(log)}"
            )

    async def stitch(self, source: Path, to: Path) -> None:
        """Make one picture of a grid of tiles, turned as it is shown.

        Left to itself, ffmpeg takes the whole picture; any stream that is named is a tile.

        Raises:
            JobFailure: The input cannot be used, or it took too long.
        """
        after = ("-an", "-frames:v", "1", "-c:v", "png", "-update", "1", "-f", "image2", to.name)
        await self.run(Command((), after), source=source, folder=to.parent)

    def _input(self) -> tuple[str, ...]:
        pixels = str(MAX_EDGE_PX**2)
        limits = ("-threads", str(self.threads), "-max_pixels", pixels)
        return (*limits, "-protocol_whitelist", "fd", "-i", "fd:")

    async def _execute(
        self, arguments: tuple[str, ...], source: Path, folder: Path, timeout_s: float
    ) -> tuple[int, str]:
        with source.open("rb") as file:
            # Its own session: Ctrl-C ends the sandbox, which then ends ffmpeg itself.
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


def telling_line(log: str) -> str:
    """Pick the last line that gives a reason, without addresses in memory."""
    lines = [_SOURCE_TAG.sub("", line).strip() for line in re.split(r"[\r\n]+", log)]
    telling = [line for line in lines if line and not line.startswith(_UNTELLING)]
    return (telling or ["ffmpeg gave no reason"])[-1][:_MAX_REASON_CHARS]


async def _tail(process: asyncio.subprocess.Process) -> str:
    kept = b""
    if process.stderr is not None:
        while chunk := await process.stderr.read(_KEPT_LOG_BYTES):
            kept = (kept + chunk)[-_KEPT_LOG_BYTES:]
    return kept.decode(errors="replace")
