"""What commands print: tables for people, JSON for programs."""

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import orjson
from cyclopts import Parameter
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ittybatch.errors import IttybatchError

Json = Annotated[
    bool, Parameter(name="--json", negative="", help="Print JSON for programs instead.")
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

_MOST_LINES = 1_000_000_000


def _countable(_type: object, count: int) -> None:
    if not 0 <= count <= _MOST_LINES:
        raise IttybatchError(
            f"--limit: {count} cannot be a limit.", remedy=f"Give 0 to {_MOST_LINES:,}."
        )


# Not a usage error to cyclopts: other options out of their range are none either.
Limit = Annotated[int, Parameter(validator=_countable)]

# What is piped or logged is not folded to a screen that nobody has.
_PIPED_WIDTH = 220
console = Console(
    highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH
)

errors = Console(stderr=True, highlight=False, soft_wrap=True)


def refused(error: ValidationError) -> IttybatchError:
    """Tell the first option that cannot be taken as it is, by its name."""
    first = error.errors(include_url=False)[0]
    field = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "Options"
    return IttybatchError(f"{field}: {first['msg'].removeprefix('Value error, ')}.")


def print_json(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.buffer.write(
        orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    sys.stdout.buffer.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table. Cells are text, never markup: keys of buckets may hold brackets."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        name = column.removesuffix(">")
        table.add_column(name, justify="right" if column.endswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    console.print(table)


def _text(cell: object) -> Text:
    """A cell as it is: never markup, and nothing that a terminal would take for a command."""
    text = "" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell)
    return Text("".join(each if each.isprintable() else "\ufffd" for each in text))
