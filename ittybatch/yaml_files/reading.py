"""Read a file's text, with a limit on its size."""

from pathlib import Path

MAX_BYTES = 256 * 1024


class UnreadableFile(Exception):
    """A file cannot be read as text.

    Args:
        reason: Why, as the rest of a sentence about the file, without its full stop.
        remedy: What to do, if the reason does not say it.
        is_missing: Whether there is no such file.
    """

    def __init__(self, reason: str, *, remedy: str | None = None, is_missing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.is_missing = is_missing


def read_text(path: Path) -> str:
    """Read a file of UTF-8, with or without a byte order mark.

    Args:
        path: The file.

    Raises:
        UnreadableFile: It is missing, too large or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        raise UnreadableFile(f"cannot be read: {error.strerror}", is_missing=is_missing) from error
    if len(content) > MAX_BYTES:
        raise UnreadableFile(f"has more than {MAX_BYTES} bytes", remedy="Shorten it.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile(
            f"is not UTF-8 at byte {error.start}", remedy="Save it as UTF-8."
        ) from error
