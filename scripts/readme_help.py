# ruff: noqa: INP001  a folder of programs, not a package
"""Write docs/commands.md from the program's own help texts, or check that it is up to date.

python scripts/readme_help.py           writes it
python scripts/readme_help.py --check   exits with 1 if it differs
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from ittybatch.cli.app import app, explain

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"
WIDTH = 88
_HEAD = """\
# Commands

<!-- Written by scripts/readme_help.py from the program's own help. -->

`--json` prints JSON for programs wherever there is output. Tables cut long names in the middle;
`--wide` prints them whole, and so does every command whose output goes to a pipe or a file.
`ittybatch --install-completion` installs completion for your shell.
"""


def commands() -> Iterator[tuple[str, ...]]:
    """Every command as a tuple of its words, in the program's order."""
    for name in (name for name in app if not name.startswith("-")):
        below = [word for word in app[name] if not word.startswith("-")]
        yield from ((name, word) for word in below) if below else [(name,)]


def help_of(*words: str) -> str:
    """One command's help, the same on every terminal."""
    explain(list(words))
    text = io.StringIO()
    console = Console(
        file=text,
        width=WIDTH,
        color_system=None,
        force_terminal=False,
        legacy_windows=False,
        # Without the NO_COLOR and COLUMNS of the terminal that this runs in.
        _environ={},
    )
    app.help_print(list(words), console=console)
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "```text", help_of(), "```"]
    for words in commands():
        parts += ["", f"## ittybatch {' '.join(words)}", "", "```text", help_of(*words), "```"]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Write or check."""
    wanted = page()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted:
        return 0
    if "--check" in sys.argv[1:]:
        sys.stderr.write(
            f"error: docs/{PAGE.name} does not have the program's help texts.\n"
            "Run: .venv/bin/python scripts/readme_help.py\n"
        )
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
