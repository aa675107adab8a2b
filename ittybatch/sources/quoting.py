"""Quotes of a line of CSV or TSV: whether they are regular, and what they mean where not."""

import re
from collections.abc import Sequence
from functools import cache

_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@cache
def _regular(delimiter: str) -> re.Pattern[str]:
    mark = re.escape(delimiter)
    value = rf'(?:"(?:[^"]|"")*+"|[^"{mark}]*+)'
    return re.compile(rf"{value}(?:{mark}{value})*+")


def is_regular(line: str, delimiter: str) -> bool:
    """Say whether each value of a line is quoted as a whole or has no quote in it.

    Args:
        line: Without its end.
        delimiter: The character between values.
    """
    return '"' not in line or _regular(delimiter).fullmatch(line) is not None


def literal_cells(line: str, delimiter: str) -> list[str]:
    """Split a line at each delimiter; a quote is a character, but around a value quoted well."""
    cells = line.rstrip("\r\n").split(delimiter)
    return [cell[1:-1].replace('""', '"') if _QUOTED.fullmatch(cell) else cell for cell in cells]


def opening_line(lines: Sequence[bytes]) -> int:
    """Tell on which of a record's lines the last quote opens, counted from 0.

    A quoted value opens and closes on lines with an odd number of quotes, and a line in between
    has an even number.
    """
    odd = [place for place, line in enumerate(lines) if line.count(b'"') % 2]
    if not odd:
        return 0
    return odd[-1] if len(odd) % 2 else odd[-2]
