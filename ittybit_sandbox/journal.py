"""What outlives a restart: one line of JSON for each thing that happened.

The file is only ever appended to, one `write` a line, so a process that is killed leaves at
most one torn line, at the end. That line was never answered for and is dropped.
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
    """An append-only file, held by one process at a time.

    Args:
        folder: Where it lives; made when absent.

    Raises:
        ConfigurationError: The folder cannot be used, or another sandbox uses it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"The sandbox cannot keep its state in {folder}: {error.strerror}.",
                remedy="Give it another folder.",
            ) from None
        try:
            _lock(self._file)
        except OSError:
            os.close(self._file)
            raise ConfigurationError(
                f"Another sandbox keeps its state in {folder}.",
                remedy="End it, or give this one another folder.",
            ) from None

    def replay(self) -> Iterator[Entry]:
        """Read back every whole line and cut a torn one off."""
        whole = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                try:
                    entry = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(entry, dict):
                    yield entry
        os.ftruncate(self._file, whole)

    def append(self, entry: Entry) -> None:
        """Write one line; it is with the operating system when this returns."""
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
    """Take the journal. A sandbox that was killed holds it until its encoders are gone too."""
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
