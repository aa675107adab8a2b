"""The secrets of a stack: created once per home, readable only by their owner."""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from ittybatch_local.errors import StackError


@dataclass(frozen=True)
class StackSecrets:
    """The secrets of one home."""

    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    database_password: str = field(repr=False)
    prefect_auth: str = field(repr=False)
    api_token: str = field(repr=False)


def load_secrets(home: Path) -> StackSecrets:
    """Read the secrets of a home, or create them.

    Homes of earlier versions lack some of them; this adds those.

    Raises:
        StackError: The file exists and is not usable.
    """
    path = home / "secrets.json"
    if not path.exists():
        _write(
            path,
            {
                "api_key": f"sandbox-{secrets.token_hex(16)}",
                "webhook_secret": secrets.token_hex(32),
                "database_password": secrets.token_hex(16),
                **_added_later(),
            },
        )
    try:
        content = {str(name): str(value) for name, value in json.loads(path.read_bytes()).items()}
        complete = {**_added_later(), **content}
        found = StackSecrets(**complete)
    except (OSError, ValueError, TypeError, AttributeError):
        raise StackError(
            f"{path} does not contain this stack's secrets.",
            remedy=f"Restore it, or remove {home} to start again without its data.",
        ) from None
    if complete != content:
        _write(path, complete)
    return found


def _added_later() -> dict[str, str]:
    return {
        # `user:password`, as Prefect expects it.
        "prefect_auth": f"admin:{secrets.token_hex(16)}",
        "api_token": secrets.token_hex(24),
    }


def _write(path: Path, content: dict[str, str]) -> None:
    write_private(path, json.dumps(content, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, atomically."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
