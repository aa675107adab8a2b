"""The report as Parquet. A module of its own: pyarrow takes longer to import than most commands."""

from collections.abc import Sequence
from typing import IO, Any

import pyarrow as pa
from pyarrow import parquet

from ittybatch.engine.reports.entries import COLUMNS, job_columns
from ittybatch.engine.reports.tally import Tally
from ittybatch.ledger.results import Result

_ROW_GROUP = 10_000
_TYPES: dict[str, pa.DataType] = {
    "attempts": pa.int32(),
    "width": pa.int32(),
    "height": pa.int32(),
    "duration_s": pa.float64(),
    "size_bytes": pa.int64(),
    "input_size_bytes": pa.int64(),
    "submitted_at": pa.timestamp("us", tz="UTC"),
    "completed_at": pa.timestamp("us", tz="UTC"),
}
PARQUET_SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in COLUMNS])


class ParquetReport:
    """The report as Parquet, with thousands of jobs per row group."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._writer = parquet.ParquetWriter(stream, PARQUET_SCHEMA)
        self._group: list[Any] = []

    def add(self, rows: Sequence[Result], /) -> None:
        """Collect these jobs, and write them once they fill a row group."""
        self._group.extend(job_columns(row) for row in rows)
        if len(self._group) >= _ROW_GROUP:
            self._flush()

    def end(self, tally: Tally, /) -> None:
        """Write the last row group and the footer."""
        del tally
        if self._group:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._group, schema=PARQUET_SCHEMA))
        self._group.clear()
