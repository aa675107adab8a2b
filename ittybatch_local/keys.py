"""The secrets of a stack: created once per home, readable only by their owner."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
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

    Homes of earlier versions have fewer; this adds those that are missing.

    Raises:
        StackError: The file exists and is not usable.
    """
    path = home / "secrets.json"
    made = {
        "api_key": f"sandbox-{secrets.token_hex(16)}",
        "webhook_secret": secrets.token_hex(32),
        "database_password": secrets.token_hex(16),
        **_later_secrets(),
    }
    if not path.exists():
        _write(path, made)
    try:
        content = {str(name): str(value) for name, value in json.loads(path.read_bytes()).items()}
        found = StackSecrets(**{**_later_secrets(), **content})
    except (OSError, ValueError, TypeError, AttributeError):
        raise StackError(
            f"{path} does not contain this stack's secrets.",
            remedy=f"Restore it, or remove {home} to start again without its data.",
        ) from None
    if asdict(found) != content:
        _write(path, asdict(found))
    return found


def _later_secrets() -> dict[str, str]:
    """Those that homes of earlier versions do not have."""
    # Prefect expects `user:password`.
    return {
        "prefect_auth": f"admin:{secrets.token_hex(16)}",
        "api_token": secrets.token_hex(16),
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
