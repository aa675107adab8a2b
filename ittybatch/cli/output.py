"""What commands print: tables for people, JSON for programs."""

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
    bool, Parameter(negative="", help="Print names whole and every column, however wide.")
]
Profile = Annotated[
    str, Parameter(help="A profile of deployments/profiles/, or the path of a YAML file.")
]
Batch = Annotated[
    str,
    Parameter(
        help="Id of a batch, its beginning or end if that is enough, or `latest`: the newest "
        "that found something to do."
    ),
]

_LARGEST_LIMIT = 1_000_000_000


def _valid_limit(_type: object, limit: int) -> None:
    if not 0 <= limit <= _LARGEST_LIMIT:
        raise IttybatchError(
            f"--limit: {limit} cannot be a limit.", remedy=f"Give 0 to {_LARGEST_LIMIT:,}."
        )


# Checked here and not by cyclopts, so that it exits with 3 as other values out of range do.
Limit = Annotated[int, Parameter(validator=_valid_limit)]

# Pipes and files get each row whole, so that `grep` finds it.
_WHOLE = 10_000
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WHOLE)
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
# Below this a cut name says nothing.
_SHORTEST_CUT = 12
_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        title: What stands above it.
        right: Whether it is aligned to the right, as numbers are.
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
    def of(cls, text: str) -> "Column":
        """A column whose values are never cut; `>` at the end of its title aligns it right."""
        return cls(text.removesuffix(">"), right=text.endswith(">"))


@dataclass(frozen=True, slots=True)
class CutText:
    """Text on one line, cut in the middle where it does not fit: names differ at both ends."""

    text: Text

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        shown = cut_in_the_middle(self.text.plain, options.max_width)
        yield Text(shown, style=self.text.style, no_wrap=True, end="")

    def __rich_measure__(self, _console: Console, _options: ConsoleOptions) -> Measurement:
        width = max(cell_len(self.text.plain), 1)
        return Measurement(min(width, _SHORTEST_CUT), width)


def cut_in_the_middle(text: str, width: int) -> str:
    """Shorten text to a width in characters of the screen, keeping its beginning and end."""
    if cell_len(text) <= width:
        return text
    end = (width - 1) // 2
    beginning = set_cell_size(text, width - 1 - end).rstrip()
    return beginning + _ELLIPSIS + set_cell_size(text[::-1], end).rstrip()[::-1]


def refused(error: ValidationError) -> IttybatchError:
    """Name the first option whose value is refused, and say why."""
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
    """Print a table. Cells are text, never markup: keys of buckets may hold brackets.

    Args:
        title: What stands above the table.
        columns: The columns; a title alone stands for one whose values are never cut.
        rows: A value for each column. States of jobs and batches get their colour.
        wide: Whether to print every column whole, on lines as long as they get.
    """
    width = _WHOLE if wide else console.width
    whole = width >= _WHOLE
    chosen = [each if isinstance(each, Column) else Column.of(each) for each in columns]
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
        Console(file=console.file, highlight=False, soft_wrap=True, width=_WHOLE).print(table)
    else:
        console.print(table)


def whole_console() -> bool:
    """Whether standard output takes lines of any length."""
    return console.width >= _WHOLE


def common_folder(names: Sequence[str], *, wide: bool) -> str:
    """The folder that all names of a table share, which the table may leave out.

    Args:
        names: URIs or paths.
        wide: Whether the table prints names whole.
    """
    if wide or whole_console() or len(set(names)) <= 1:
        return ""
    # By characters and not by `commonpath`, which makes one slash of the two in `s3://`.
    folder, slash, _ = os.path.commonprefix(names).rpartition("/")  # noqa: RUF071
    return "" if folder.endswith("/") else folder + slash


def styled(value: object) -> Text:
    """A cell's text, with control characters replaced so that no name commands the terminal."""
    style = _STYLES.get(value, "") if isinstance(value, StrEnum) else ""
    if isinstance(value, bool) or not isinstance(value, int):
        text = "" if value is None else str(value)
    else:
        text = f"{value:,}"
    return Text("".join(each if each.isprintable() else "\ufffd" for each in text), style=style)
