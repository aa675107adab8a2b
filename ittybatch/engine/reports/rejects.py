"""Write the rejected rows of a source: the rows that could not become items."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ittybatch.engine.reports.cells import BYTE_ORDER_MARK, cell
from ittybatch.engine.reports.places import whole
from ittybatch.ledger import Ledger
from ittybatch.ledger.results import reject_pages, reject_rows

_COLUMNS = ("line", "field", "reason", "row")


def rejected_rows(ledger: Ledger, batch: str) -> Iterator[Mapping[str, Any]]:
    """Yield a batch's rejected rows, read page by page."""
    for rows in reject_pages(ledger, batch):
        yield from rows


def write_rejects(ledger: Ledger, batch: str, stream: IO[bytes]) -> int:
    """Write rejected rows as CSV, page by page.

    Returns:
        The number of rows.
    """
    stream.write(BYTE_ORDER_MARK + _lines([_COLUMNS]))
    written = 0
    for rows in reject_pages(ledger, batch):
        stream.write(_lines([[cell(row[name]) for name in _COLUMNS] for row in rows]))
        written += len(rows)
    return written


def write_rejects_file(ledger: Ledger, batch: str, folder: Path) -> Path | None:
    """Write `rejects.csv` if the batch has rejected rows.

    Returns:
        The file's path; None if no row was rejected.
    """
    place = write_rejects_to(ledger, batch, str(folder / "rejects.csv"))
    return Path(place) if place else None


def write_rejects_to(ledger: Ledger, batch: str, place: str) -> str | None:
    """Write rejected rows to a path or an `s3://` URI, if the batch has any.

    Returns:
        The path or URI; None if no row was rejected.

    Raises:
        NotWritten: The file or object could not be written.
    """
    if not ledger.read(reject_rows, batch, limit=1):
        return None
    with whole(place) as stream:
        write_rejects(ledger, batch, stream)
    return place


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
