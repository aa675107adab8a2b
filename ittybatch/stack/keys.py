"""What a stack keeps to itself: made once a home, readable by its owner alone."""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from ittybatch.stack.errors import StackError


@dataclass(frozen=True)
class StackSecrets:
    """The secrets of one home."""

    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    database_password: str = field(repr=False)


def load_secrets(home: Path) -> StackSecrets:
    """Read the secrets of a home, making them the first time.

    Raises:
        StackError: The file is there and cannot be used.
    """
    path = home / "secrets.json"
    if not path.exists():
        made = {
            "api_key": f"sandbox-{secrets.token_hex(16)}",
            "webhook_secret": secrets.token_hex(32),
            "database_password": secrets.token_hex(16),
        }
        write_private(path, json.dumps(made, indent=2) + "\n")
    try:
        content = json.loads(path.read_bytes())
        return StackSecrets(**{str(name): str(value) for name, value in content.items()})
    except (OSError, ValueError, TypeError, AttributeError):
        raise StackError(
            f"{path} does not hold this stack's secrets.",
            remedy=f"Restore it, or remove {home} to start afresh without its data.",
        ) from None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at once or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
