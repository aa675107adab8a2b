# ruff: noqa: INP001  a folder of programs, not a package
"""Write the program's own help texts into the README, or check that they stand there.

python scripts/readme_help.py           writes them
python scripts/readme_help.py --check   exits with 1 where they differ
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from ittybatch.cli.app import app, explain

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN = "<!-- help: begin (written by scripts/readme_help.py) -->"
END = "<!-- help: end -->"
WIDTH = 88


def commands() -> Iterator[tuple[str, ...]]:
    """Every command by its words, in the order that the program names them in."""
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
        # Neither NO_COLOR nor COLUMNS of whoever runs this has a say.
        _environ={},
    )
    app.help_print(list(words), console=console)
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())


def section() -> str:
    """What stands between the markers."""
    parts = ["", "```text", help_of(), "```", ""]
    for words in commands():
        name = " ".join(words)
        parts += [f"### ittybatch {name}", "", "```text", help_of(*words), "```", ""]
    return "\n".join(parts)


def written(readme: str) -> str:
    """Put the help texts into a README's text.

    Raises:
        ValueError: A marker is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README.name} lacks the marker {BEGIN if not begin else END}")
    return f"{before}{BEGIN}\n{section()}\n{END}{after}"


def main() -> int:
    """Write or check."""
    text = README.read_text(encoding="utf-8")
    try:
        wanted = written(text)
    except ValueError as error:
        sys.stderr.write(f"error: {error}.\n")
        return 1
    if text == wanted:
        return 0
    if "--check" in sys.argv[1:]:
        sys.stderr.write(
            "error: the help texts in README.md are not the program's.\n"
            "Run: .venv/bin/python scripts/readme_help.py\n"
        )
        return 1
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
