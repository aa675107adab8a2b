"""Commands beside a running `ittybatch up` find its services by themselves."""

import fcntl
import os
import shlex

from rich.console import Console

from ittybatch.settings import Settings

_ENVIRONMENT = "stack.env"
_LOCK = "stack.lock"


def use_local_stack() -> None:
    """Take the environment of the stack that runs in this home, unless Prefect is set.

    Call it before anything imports Prefect, which reads its settings once.
    """
    if os.environ.get("PREFECT_API_URL"):
        return
    home = Settings().home
    path = home / _ENVIRONMENT
    if not path.exists() or not _is_held(home / _LOCK):
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        parts = shlex.split(value)
        os.environ[name] = parts[0] if parts else ""
    Console(stderr=True, highlight=False).print(f"Using the local stack of {home}.", style="dim")


def _is_held(path: os.PathLike[str]) -> bool:
    """Whether a stack holds its lock."""
    try:
        with open(path, "rb") as lock:  # noqa: PTH123  any path-like
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
