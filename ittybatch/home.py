"""The home: a private folder with one ledger."""

import contextlib
import fcntl
import json
import logging
import os
import shlex
import stat
from pathlib import Path
from urllib.parse import urlsplit

from ittybatch.errors import ConfigurationError

logger = logging.getLogger(__name__)

STACK_ENVIRONMENT = "stack.env"
_STACK_LOCK = "stack.lock"
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(home: Path) -> None:
    """Close a home's files to other users of the machine; they contain signed URLs.

    Changes the mode of the home and its direct entries, which also closes what is below them. A
    home that is shared with its group, by the set-group-ID bit, stays open to the group.
    """
    if not home.exists():
        return
    closed = _closed_below(home)
    was_open = _close(home, closed & ~_search_for_database(home))
    # A database account that may search the home reaches the entries by name.
    for path in home.iterdir():
        was_open = _close(path, closed) or was_open
    if was_open:
        logger.info("Closed %s to other users of this machine.", home)


def private_folder(folder: Path) -> Path:
    """Make a private folder and its missing parents, and return it.

    Raises:
        ConfigurationError: The folder cannot be made.
    """
    try:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o777 & ~_closed_below(each.parent), exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The folder {folder} cannot be made: {error.strerror or error}.",
            remedy="Check ITTYBATCH_HOME, its permissions and the disk.",
        ) from error
    return folder


def private_file(path: Path) -> None:
    """Make an empty private file, unless it exists."""
    with contextlib.suppress(FileExistsError):
        mode = 0o666 & ~_closed_below(path.parent)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))


def read_environment(path: Path) -> dict[str, str]:
    """Read the `stack.env` of a stack, a shell script; empty if there is no file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def stack_runs(home: Path) -> bool:
    """Whether a stack runs in this home."""
    try:
        with (home / _STACK_LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def stack_ledger(home: Path) -> str | None:
    """The URL of the ledger of this home's last stack, None if no stack ever ran here."""
    return read_environment(home / STACK_ENVIRONMENT).get("DATABASE_URL")


def is_own_postgres(home: Path, url: str) -> bool:
    """Whether a URL leads to the PostgreSQL of this home's stack."""
    try:
        password = json.loads((home / "secrets.json").read_bytes())["database_password"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return urlsplit(url).password == str(password)


def sqlite_ledger(home: Path) -> str:
    """The URL of a home's SQLite ledger, the default.

    Raises:
        ConfigurationError: The home has another ledger. The SQLite one would be empty, and every
            job would be paid for again.
    """
    own = f"sqlite:///{home / 'ledger.db'}"
    recorded = stack_ledger(home)
    if recorded is None or recorded == own:
        return own
    where = "in the PostgreSQL of its local stack"
    if not is_own_postgres(home, recorded):
        parts = urlsplit(recorded)
        where = f"at {parts.scheme}://{parts.hostname or ''}{parts.path}"
        remedy = "Set DATABASE_URL to that database, or"
    elif stack_runs(home):
        remedy = (
            f"That stack is running. Load its settings, because PREFECT_API_URL is set or this "
            f"command is a service: `set -a; . {home / STACK_ENVIRONMENT}`. Or"
        )
    else:
        remedy = "Start it with `ittybatch up` and leave it running, or"
    raise ConfigurationError(
        f"The ledger of {home} is {where}, which this command does not reach. Nothing was changed.",
        remedy=f"{remedy} set ITTYBATCH_HOME to another folder to start a new ledger.",
    )


def _closed_below(folder: Path) -> int:
    """The permission bits to remove from a folder's entries."""
    return stat.S_IRWXO if folder.stat().st_mode & stat.S_ISGID else _GROUP_AND_OTHERS


def _search_for_database(home: Path) -> int:
    """The search permission that a database of another account needs."""
    try:
        foreign = (home / "postgres").stat().st_uid != os.geteuid()
    except FileNotFoundError:
        return 0
    return stat.S_IXOTH if foreign else 0


def _close(path: Path, bits: int) -> bool:
    """Remove permissions from a file of ours; returns whether it had any of them."""
    try:
        found = path.lstat()
        if found.st_uid != os.geteuid() or stat.S_ISLNK(found.st_mode) or not found.st_mode & bits:
            return False
        path.chmod(stat.S_IMODE(found.st_mode) & ~bits)
    except OSError:  # deleted meanwhile, or on a file system without permissions
        return False
    return True
