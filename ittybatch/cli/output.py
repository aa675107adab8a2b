"""The output of commands: tables for people, JSON for programs."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import orjson
from cyclopts import Parameter
from pydantic import ValidationError
from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ittybatch.errors import IttybatchError
from ittybatch.ledger.states import BatchState, JobState

Json = Annotated[
    bool, Parameter(name="--json", negative="", help="Print JSON for programs instead.")
]
Wide = Annotated[
    bool, Parameter(negative="", help="Print every column and full names, on lines of any length.")
]
Profile = Annotated[
    str, Parameter(help="Name of a profile in deployments/profiles/, or the path of a YAML file.")
]
Batch = Annotated[
    str,
    Parameter(
        help="Id of a batch, a unique beginning or end of one, or `latest`: the newest that "
        "found something to do."
    ),
]

_LARGEST_LIMIT = 1_000_000_000


def _valid_limit(_type: object, limit: int) -> None:
    if not 0 <= limit <= _LARGEST_LIMIT:
        raise IttybatchError(
            f"--limit: {limit} cannot be a limit.", remedy=f"Give 0 to {_LARGEST_LIMIT:,}."
        )


# Not checked by cyclopts, so that the exit status is 3, as for other values out of range.
Limit = Annotated[int, Parameter(validator=_valid_limit)]

# In pipes and files, each row is one line, so that `grep` finds it.
_UNLIMITED = 10_000
console = Console(
    highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _UNLIMITED
)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

_STYLES: dict[str, str] = {
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.EXPIRED: "red",
    JobState.CANCELLED: "dim",
    JobState.PLANNED: "dim",
    JobState.SUBMITTING: "cyan",
    JobState.SUBMITTED: "cyan",
    BatchState.PLANNING: "cyan",
    BatchState.RUNNING: "cyan",
    BatchState.UNAPPROVED: "yellow",
    BatchState.HELD: "yellow",
    BatchState.SOME_FAILED: "red",
}
# A name cut below this length is useless.
_SHORTEST_CUT = 12
_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        title: The title of the column.
        right: Whether it is right-aligned, as numbers are.
        cut: Whether long values are cut in the middle to fit the screen.
        prose: Whether values are sentences, which continue on the next line.
        from_width: The narrowest screen, in characters, on which the column is shown.
    """

    title: str
    right: bool = False
    cut: bool = False
    prose: bool = False
    from_width: int = 0

    @classmethod
    def number(cls, title: str) -> "Column":
        """A column of numbers."""
        return cls(title, right=True)


@dataclass(frozen=True, slots=True)
class CutText:
    """Text on one line, cut in the middle if it is too long: names differ at both ends."""

    text: Text

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        shown = cut_in_the_middle(self.text.plain, options.max_width)
        yield Text(shown, style=self.text.style, no_wrap=True, end="")

    def __rich_measure__(self, _console: Console, _options: ConsoleOptions) -> Measurement:
        width = max(cell_len(self.text.plain), 1)
        return Measurement(min(width, _SHORTEST_CUT), width)


def cut_in_the_middle(text: str, width: int) -> str:
    """Shorten text to a width in screen characters, but keep its beginning and end."""
    if cell_len(text) <= width:
        return text
    end = (width - 1) // 2
    beginning = set_cell_size(text, width - 1 - end).rstrip()
    return beginning + _ELLIPSIS + set_cell_size(text[::-1], end).rstrip()[::-1]


def refused(error: ValidationError) -> IttybatchError:
    """Return an error that names the first invalid option and the reason."""
    first = error.errors(include_url=False)[0]
    field = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "Options"
    return IttybatchError(f"{field}: {first['msg'].removeprefix('Value error, ')}.")


def print_json(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.buffer.write(
        orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    sys.stdout.buffer.flush()


def print_table(
    title: str,
    columns: Sequence[str | Column],
    rows: Iterable[Sequence[Any]],
    *,
    wide: bool = False,
) -> None:
    """Print a table. Cells are text, never markup, because keys may contain brackets.

    Args:
        title: The title of the table.
        columns: The columns. A string is the title of a column whose values are never cut.
        rows: Rows with a value for each column. States of jobs and batches are coloured.
        wide: Whether to print every column in full, on lines of any length.
    """
    width = _UNLIMITED if wide else console.width
    whole = width >= _UNLIMITED
    chosen = [each if isinstance(each, Column) else Column(each) for each in columns]
    shown = [number for number, each in enumerate(chosen) if width >= each.from_width]
    shown_title = cut_in_the_middle(title, width)
    table = Table(title=shown_title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in (chosen[number] for number in shown):
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="ellipsis",
            no_wrap=whole or not (column.cut or column.prose),
        )
    for row in rows:
        cells = [(chosen[number], styled(row[number])) for number in shown]
        table.add_row(
            *(CutText(cell) if column.cut and not whole else cell for column, cell in cells)
        )
    if wide and not whole_console():
        Console(file=console.file, highlight=False, soft_wrap=True, width=_UNLIMITED).print(table)
    else:
        console.print(table)


def whole_console() -> bool:
    """Whether standard output takes lines of any length."""
    return console.width >= _UNLIMITED


def common_folder(names: Sequence[str], *, wide: bool) -> str:
    """Return the folder that all names of a table share, so that the table can omit it.

    Args:
        names: URIs or paths.
        wide: Whether the table prints names whole.
    """
    if wide or whole_console() or len(set(names)) <= 1:
        return ""
    # Not `commonpath`, which turns the two slashes of `s3://` into one.
    folder, slash, _ = os.path.commonprefix(names).rpartition("/")  # noqa: RUF071
    return "" if folder.endswith("/") else folder + slash


def styled(value: object) -> Text:
    """Format a cell, without control characters, so that no name can control the terminal."""
    style = _STYLES.get(value, "") if isinstance(value, StrEnum) else ""
    if isinstance(value, bool) or not isinstance(value, int):
        text = "" if value is None else str(value)
    else:
        text = f"{value:,}"
    return Text("".join(each if each.isprintable() else "\ufffd" for each in text), style=style)
