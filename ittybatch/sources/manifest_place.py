"""Where in a manifest a page ends, as a cursor keeps it."""

from dataclasses import dataclass
from typing import Any, Self

from ittybatch.sources.cursor import read_cursor, write_cursor
from ittybatch.sources.errors import SourceError, without_secrets
from ittybatch.sources.layers import Packing
from ittybatch.sources.manifest import ManifestSource
from ittybatch.sources.manifest_formats import Format

_REMEDIES: dict[Format, str] = {
    "csv": "It must be CSV with a line of titles, `input` among them.",
    "tsv": "It must be TSV with a line of titles, `input` among them.",
    "jsonl": "It must have one JSON object a line, each with an `input`.",
    "parquet": "It must be a Parquet file with a column `input`.",
    "excel": "It must be an .xlsx workbook with a row of titles, `input` among them.",
}


@dataclass
class Place:
    """Where in a manifest a page ends.

    Args:
        identity: What the manifest was.
        header: Titles of its columns, where they stand on a line.
        line: Line, or row, of the next one.
        offset: Byte at which that begins, of the text in UTF-8.
        packing: How the file was packed.
        encoding: What its text was written in; None before it was opened, or where it is none.
        delimiter: The character between its values; None before it was found.
        cr: Whether its lines end with a carriage return alone.
    """

    identity: str | None = None
    header: list[str] | None = None
    line: int = 1
    offset: int = 0
    packing: Packing | None = None
    encoding: str | None = None
    delimiter: str | None = None
    cr: bool = False

    @classmethod
    def from_cursor(cls, source: ManifestSource, cursor: str | None) -> Self:
        """Read a place from a cursor; the beginning where there is none.

        Raises:
            SourceError: The cursor is damaged, or belongs to another source.
        """
        if cursor is None:
            return cls()
        place: dict[str, Any] = read_cursor(cursor, source.type, without_secrets(source.uri))
        try:
            return cls(**place)
        except TypeError as error:
            raise SourceError(
                f"{without_secrets(source.uri)} cannot be read on from the saved place.",
                remedy="Start a new batch of the source.",
            ) from error

    def cursor(self, source: ManifestSource) -> str:
        """Write it as a cursor."""
        # A signed URL is signed anew for a later process, and is nobody's business meanwhile.
        return write_cursor(source.type, without_secrets(source.uri), vars(self))


def unusable(source: ManifestSource, why: str) -> SourceError:
    """Say why a manifest cannot be used as a whole, and what to do."""
    return SourceError(
        f"The manifest {without_secrets(source.uri)} cannot be used: {why}.",
        remedy=f"{_REMEDIES[source.resolved_format]} `columns` (--column input=TITLE) gives other "
        "titles, `format` (--format) another format.",
    )
