"""Which folders of this machine a batch may read and write."""

from pathlib import Path

from ittybatch.errors import ConfigurationError
from ittybatch.settings import Settings


def require_allowed(path: Path) -> None:
    """Refuse a file outside of the folders that `ITTYBATCH_FILE_DIRS` names.

    Whoever may start a run says what is read, in a Prefect with several users also people who
    must not see every file of the worker. Links count as what they lead to.

    Raises:
        ConfigurationError: It lies outside of them.
    """
    folders = Settings().file_dirs
    resolved = path.expanduser().resolve()
    if not folders or any(resolved.is_relative_to(folder) for folder in folders):
        return
    raise ConfigurationError(
        f"{path} is outside of the folders that batches may use on this machine.",
        remedy="Put the file into one of the folders of ITTYBATCH_FILE_DIRS, or let the worker's "
        f"operator add {resolved.parent} to it.",
    )
