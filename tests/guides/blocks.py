"""The code blocks of Ittybit's guides that speak to our side, and how a test runs them.

Each file in `blocks/` is one block as the guide prints it, named for the guide's number. A test
replaces hosts, tokens and ids, and nothing else.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("blocks")
ITTYBIT = "https://api.ittybit.com"
# The guide's server has no token; ours is in curl's own configuration, so the line is unchanged.
_CURL_CONFIG = 'header = "Authorization: Bearer {token}"\nsilent\n'


def block(name: str, replaced: Mapping[str, str] | None = None) -> str:
    """Read a block, with each of these texts replaced; each has to be in it."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    for old, new in (replaced or {}).items():
        assert old in text, f"{name} does not have {old}"
        text = text.replace(old, new)
    return text


def run_shell(
    name: str, replaced: Mapping[str, str], folder: Path, *, token: str = "", **environment: str
) -> list[Any]:
    """Run a block in a shell with the real curl, and return what it printed, as JSON values."""
    if token:
        (folder / ".curlrc").write_text(_CURL_CONFIG.format(token=token))
    given = {"CURL_HOME": str(folder), **environment}
    return _json_values(_run(["bash", "-euc", block(name, replaced)], folder, given))


def run_javascript(
    name: str, replaced: Mapping[str, str], folder: Path, **environment: str
) -> list[Any]:
    """Run a block with Node.js, and return what it printed, as JSON values."""
    command = ["node", "--input-type=module", "-e", block(name, replaced)]
    return _json_values(_run(command, folder, environment))


def run_python(
    name: str,
    replaced: Mapping[str, str],
    folder: Path,
    *,
    before: str = "",
    after: str = "",
    **environment: str,
) -> list[Any]:
    """Run a block with Python, and return what it printed, as JSON values.

    Args:
        name: The block.
        replaced: Texts to replace in it.
        folder: The current folder of the program.
        before: Lines that the guide leaves out, for example its imports.
        after: Lines that call what it defines.
        **environment: Variables that the program sees.
    """
    program = "\n".join([before, block(name, replaced), after])
    return _json_values(_run([sys.executable, "-c", program], folder, environment))


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _json_values(text: str) -> list[Any]:
    """Every JSON value of a text in turn: three curls print three of them in a row."""
    found: list[Any] = []
    decoder = json.JSONDecoder()
    at = 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found
