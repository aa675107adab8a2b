"""Reads the rows of a Parquet file as items."""

from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import pyarrow as pa
from pyarrow import parquet

from ittybatch.sources.cells import NO_TEXT, as_cell, as_text
from ittybatch.sources.columns import METADATA_PREFIX, Columns
from ittybatch.sources.manifest import ManifestSource, Position, unusable
from ittybatch.sources.page import Page, PageBuilder
from ittybatch.sources.rows import Rows
from ittybatch.sources.stream import spooled

_BATCH_ROWS = 1000
# pyarrow raises these.
_UNREADABLE = (pa.ArrowException, OSError, ValueError, NotImplementedError)


def read_parquet(source: ManifestSource, position: Position, page_size: int) -> Iterator[Page]:
    """Read a Parquet file in pages; arguments and errors as for `read_manifest`."""
    manifest = spooled(source.uri, position.identity, request_payer=source.request_payer)
    with manifest as (file, identity):
        builder = PageBuilder(page_size)
        number = position.line - 1
        try:
            table = _Table(file)
            columns = Columns.from_header(table.titles, source.columns)
            rows = Rows(columns, typed=True)
            for row in table.rows(number, columns.read):
                number += 1
                builder.add(rows.item_of(number, list(map(as_cell, row))))
                if builder.free == 0:
                    yield builder.build(Position(identity, line=number + 1).cursor(source))
        except ValueError as error:
            raise unusable(source, str(error)) from error
        if builder:
            yield builder.build(Position(identity, line=number + 1).cursor(source))


class _Table:
    """The columns of a Parquet file. Fields of a struct `metadata` are called `metadata.NAME`.

    Args:
        file: The file, seekable.

    Raises:
        ValueError: It is not a readable Parquet file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._file = parquet.ParquetFile(file, pre_buffer=False, buffer_size=1024 * 1024)
        except _UNREADABLE as error:
            raise ValueError(f"it is no Parquet file: {_first_line(error)}") from error
        self._fields = list(_flat(self._file.schema_arrow))
        self.titles = [".".join(path) for path in self._fields]

    def rows(self, start: int, wanted: list[int]) -> Iterator[list[Any]]:
        """Yield the rows from row `start` on, counted from 0.

        Args:
            start: The first row to yield.
            wanted: Places of the columns to read; the others are None.

        Raises:
            ValueError: The file is damaged.
        """
        groups, before = self._groups_from(start)
        names = list(dict.fromkeys(self._fields[place][0] for place in wanted))
        try:
            for batch in self._file.iter_batches(
                _BATCH_ROWS, row_groups=groups, columns=names, use_threads=False
            ):
                skipped = min(max(start - before, 0), batch.num_rows)
                before += batch.num_rows
                yield from self._rows_of(batch.slice(skipped), wanted)
        except _UNREADABLE as error:
            raise ValueError(f"it is damaged: {_first_line(error)}") from error

    def _groups_from(self, start: int) -> tuple[list[int], int]:
        """Return the row groups from the one with row `start` on, and the rows before them."""
        metadata = self._file.metadata
        first = before = 0
        while first < metadata.num_row_groups:
            count = metadata.row_group(first).num_rows
            if before + count > start:
                break
            before += count
            first += 1
        return list(range(first, metadata.num_row_groups)), before

    def _rows_of(self, batch: pa.RecordBatch, wanted: list[int]) -> Iterator[list[Any]]:
        columns: list[list[Any]] = [[None] * batch.num_rows for _ in self._fields]
        for place in wanted:
            name, *below = self._fields[place]
            column: Any = batch.column(name)
            for child in below:
                # `field` would ignore that the struct itself may be null.
                column = column.flatten()[column.type.get_field_index(child)]
            columns[place] = values_of(column)
        for row in zip(*columns, strict=True):
            yield list(row)


def _flat(schema: pa.Schema) -> Iterator[tuple[str, ...]]:
    for field in schema:
        if pa.types.is_struct(field.type) and f"{field.name}." == METADATA_PREFIX:
            yield from ((field.name, child.name) for child in field.type)
        else:
            yield (field.name,)


def values_of(column: Any) -> list[Any]:  # noqa: ANN401 - a pyarrow array
    """Convert a column to Python, value by value where one of them has no type or is no text."""
    if _in_nanoseconds(column.type):
        with suppress(pa.ArrowException, ValueError, OverflowError):
            exact: list[Any] = column.cast(_in_microseconds(column.type)).to_pylist()
            return exact
        return [_of_nanoseconds(scalar) for scalar in column]
    try:
        values: list[Any] = column.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):
        # Convert one by one: the text of a value must not depend on its neighbours.
        return [_value(scalar) for scalar in column]
    else:
        return values


def _value(scalar: Any) -> Any:  # noqa: ANN401 - a pyarrow scalar
    """Convert a value; return Arrow's text or number if Python has no type for it."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        # A whole value is shown; of one inside a list or a struct only that it is no text.
        is_text = hasattr(scalar, "as_buffer")
        return as_text(scalar.as_buffer().to_pybytes()) if is_text else NO_TEXT
    except (pa.ArrowException, ValueError, OverflowError):
        # A year beyond 9999.
        return _arrows_text(scalar)


def _in_nanoseconds(kind: pa.DataType) -> bool:
    return (pa.types.is_timestamp(kind) or pa.types.is_duration(kind)) and kind.unit == "ns"


def _of_nanoseconds(scalar: Any) -> Any:  # noqa: ANN401 - a pyarrow scalar
    """Convert a time or a duration. pyarrow would load pandas for it, and make a type of pandas."""
    if scalar.value is None:
        return None
    if scalar.value % 1000:
        return _arrows_text(scalar)
    return _value(scalar.cast(_in_microseconds(scalar.type)))


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.duration("us")


def _arrows_text(scalar: Any) -> Any:  # noqa: ANN401 - a pyarrow scalar
    text: str = scalar.cast(pa.string()).as_py()
    return scalar.value if text.startswith("<") else text.replace(" ", "T", 1)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
