"""The home: a folder for its owner alone, with one ledger."""

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
    """Take a home's files from other users of the machine; they hold signed URLs.

    What is directly in the home is closed, and everything below with it. A home that its group
    shares on purpose, by the set-group-ID bit, stays open to the group.
    """
    if not home.exists():
        return
    closed = _closed_below(home)
    was_open = _close(home, closed & ~_search_for_database(home))
    # Where the database's account may enter, the names within are reached, too.
    for path in home.iterdir():
        was_open = _close(path, closed) or was_open
    if was_open:
        logger.info("Closed %s to other users of this machine.", home)


def private_folder(folder: Path) -> Path:
    """Make a folder, and what is missing above it, for its owner alone; gives it back.

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
    """Make an empty file for its owner alone, unless there is one."""
    with contextlib.suppress(FileExistsError):
        mode = 0o666 & ~_closed_below(path.parent)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))


def read_environment(path: Path) -> dict[str, str]:
    """Read what a stack has written for other shells; nothing where there is no file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def stack_runs(home: Path) -> bool:
    """Whether a stack holds this home."""
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
    """Whether a URL is that of the PostgreSQL that this home's stack runs."""
    try:
        password = json.loads((home / "secrets.json").read_bytes())["database_password"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return urlsplit(url).password == str(password)


def sqlite_ledger(home: Path) -> str:
    """The URL of the SQLite ledger of a home: the ledger where nothing else was chosen.

    Raises:
        ConfigurationError: The home's ledger is another one, so this one would be empty, and
            whatever was done before would be paid for again.
    """
    own = f"sqlite:///{home / 'ledger.db'}"
    recorded = stack_ledger(home)
    if recorded is None or recorded == own:
        return own
    where = "in the PostgreSQL of its local stack"
    if not is_own_postgres(home, recorded):
        parts = urlsplit(recorded)
        where = f"at {parts.scheme}://{parts.hostname or ''}{parts.path}"
        remedy = "Set DATABASE_URL to it, as the local stack had it, or"
    elif stack_runs(home):
        remedy = (
            f"That stack runs; with PREFECT_API_URL set, or as a service of its own, this command "
            f"needs its settings: `set -a; . {home / STACK_ENVIRONMENT}`. Or"
        )
    else:
        remedy = "Start it with `ittybatch up` and leave it running, or"
    raise ConfigurationError(
        f"The ledger of {home} is {where}, which this command does not reach. Nothing was changed.",
        remedy=f"{remedy} set ITTYBATCH_HOME to another folder to begin a ledger of its own.",
    )


def _closed_below(folder: Path) -> int:
    """The permissions that nothing in a folder should give."""
    return stat.S_IRWXO if folder.stat().st_mode & stat.S_ISGID else _GROUP_AND_OTHERS


def _search_for_database(home: Path) -> int:
    """The search permission that a database needs which runs under another account."""
    try:
        foreign = (home / "postgres").stat().st_uid != os.geteuid()
    except FileNotFoundError:
        return 0
    return stat.S_IXOTH if foreign else 0


def _close(path: Path, bits: int) -> bool:
    """Take permissions away; says whether any of them were given. Others' files are theirs."""
    try:
        found = path.lstat()
        if found.st_uid != os.geteuid() or stat.S_ISLNK(found.st_mode) or not found.st_mode & bits:
            return False
        path.chmod(stat.S_IMODE(found.st_mode) & ~bits)
    except OSError:  # gone meanwhile, or on a file system without permissions
        return False
    return True
