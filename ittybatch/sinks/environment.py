"""References to environment variables in `results.yaml`, such as `${DATABASE_URL}`.

They are resolved when a sink is used, not when the file is read, so that commands that only
list the sinks need no secrets. As for settings, `.env` counts where the environment has no value.
"""

import os
import re

from dotenv import dotenv_values

from ittybatch.errors import ConfigurationError
from ittybatch.settings import ENV_FILES

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def has_reference(text: str) -> bool:
    """Whether a text refers to an environment variable."""
    return _REFERENCE.search(text) is not None


def require_reference(text: str) -> str:
    """Return the text of a secret, which must be one reference: the file is no place for it.

    Raises:
        ValueError: It is anything else. The message does not repeat it.
    """
    if not _REFERENCE.fullmatch(text):
        raise ValueError(
            "a secret does not belong into this file; put it into an environment variable of the "
            "receiver, and write ${NAME_OF_THE_VARIABLE} here"
        )
    return text


def resolve(text: str, sink: str) -> str:
    """Replace each `${NAME}` by the variable's value.

    Args:
        text: An option's text.
        sink: The sink's name, for the error.

    Raises:
        ConfigurationError: A variable is not set or empty.
    """

    def value_of(found: re.Match[str]) -> str:
        name = found.group(1)
        value = os.environ.get(name, "").strip() or _from_files().get(name, "")
        if not value:
            raise ConfigurationError(
                f"The sink {sink!r} needs the environment variable {name}, which is not set. Its "
                "results wait in the ledger.",
                remedy=f"Set {name} for the receiver, in its environment or in .env, and start it "
                "again.",
            )
        return value

    return _REFERENCE.sub(value_of, text)


def _from_files() -> dict[str, str]:
    found: dict[str, str | None] = {}
    for path in ENV_FILES:
        found |= dotenv_values(path, encoding="utf-8")
    return {name: value.strip() for name, value in found.items() if value}
