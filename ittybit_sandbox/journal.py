"""Keeps the state across restarts: one line of JSON per event.

The file is append-only, with one `write` per line. A process that is killed leaves at most one
incomplete line, at the end. No request was answered for that line, and it is dropped.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import stamina

from ittybit_sandbox.errors import ConfigurationError

Entry = dict[str, Any]
_FILE_NAME: Final = "journal.jsonl"
_LOCK_WAIT_S: Final = 3.0


class Journal:
    """An append-only file, locked by one process at a time.

    Args:
        folder: Its folder; created if missing.

    Raises:
        ConfigurationError: The folder cannot be used, or another sandbox has locked it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"The sandbox cannot keep its state in {folder}: {error.strerror}.",
                remedy="Choose another folder.",
            ) from None
        try:
            _lock(self._file)
        except OSError:
            os.close(self._file)
            raise ConfigurationError(
                f"Another sandbox keeps its state in {folder}.",
                remedy="Stop it, or choose another folder.",
            ) from None

    def replay(self) -> Iterator[Entry]:
        """Read every complete line and truncate an incomplete one."""
        complete_bytes = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                complete_bytes += len(line)
                try:
                    entry = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(entry, dict):
                    yield entry
        os.ftruncate(self._file, complete_bytes)

    def append(self, entry: Entry) -> None:
        """Write one line; the operating system has it when this returns."""
        line = memoryview(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
        while line:
            line = line[os.write(self._file, line) :]

    def clear(self) -> None:
        """Remove every line."""
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Release the lock, so that another process can open it."""
        os.close(self._file)


@stamina.retry(on=BlockingIOError, attempts=None, timeout=_LOCK_WAIT_S, wait_max=0.2)
def _lock(file: int) -> None:
    """Lock the journal; ffmpeg processes of a killed sandbox hold the lock until they end."""
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
