# ruff: noqa: INP001  a folder of programs, not a package
"""Run the demo and draw what it prints: docs/demo.svg.

python scripts/demo_picture.py
"""

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "demo.svg"
WIDTH = 100
_BLOCK = 65536


def demo_output() -> str:
    """What `ittybatch demo` prints on a terminal. Its progress goes to standard error.

    Its exit status is 0 if the one file that is broken on purpose is all that failed.
    """
    with tempfile.TemporaryDirectory(prefix="ittybatch-picture-") as folder:
        # PostgreSQL does not run as root, and its account must be able to enter.
        Path(folder).chmod(0o755)
        ours, theirs = pty.openpty()
        demo = subprocess.Popen(
            [sys.executable, "-m", "ittybatch", "demo"],
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={
                **os.environ,
                "ITTYBATCH_HOME": str(Path(folder) / "home"),
                "COLUMNS": str(WIDTH),
                "TERM": "xterm-256color",
            },
        )
        os.close(theirs)
        output = b"".join(iter(lambda: _read(ours), b""))
        os.close(ours)
        if demo.wait():
            raise SystemExit(f"The demo failed:\n{output.decode()}")
        # What stands in the picture must be the same wherever it is drawn.
        text = output.decode().replace("\r\n", "\n").replace(folder, "~")
        return re.sub(r"admin:[0-9a-f]{32}", "admin:...", text)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, _BLOCK)
    except OSError:
        # Linux says so when the other side has closed a terminal.
        return b""


def main() -> None:
    """Run, draw, write."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, highlight=False)
        console.print(Text("$ make demo", style="bold"))
        console.print(Text.from_ansi(demo_output().strip()))
        PICTURE.write_text(
            console.export_svg(title="ittybatch demo", unique_id="demo"), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
