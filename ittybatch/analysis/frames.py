"""Rows of the ledger as a DataFrame, by way of Arrow: pages take no more memory than their values.

pandas is imported when the first frame is made, never when a module is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ittybatch.errors import IttybatchError

if TYPE_CHECKING:
    import pandas as pd

TEXT = pa.string()
NAME = pa.dictionary(pa.int32(), pa.string())
COUNT = pa.int64()
NUMBER = pa.float64()
TIME = pa.timestamp("us", tz="UTC")

Schema = Mapping[str, pa.DataType]


def page_of(schema: Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Make an Arrow table of rows.

    Args:
        schema: The type of each column, by its name.
        rows: The rows, each with a value for each column.
    """
    arrays = [pa.array([row[name] for row in rows], kind) for name, kind in schema.items()]
    return pa.Table.from_arrays(arrays, names=list(schema))


def table_of(schema: Schema, pages: Iterable[pa.Table]) -> pa.Table:
    """Join pages. Without a page the table has the same columns and types, and no row.

    Args:
        schema: The type of each column, by its name.
        pages: Tables with these columns.
    """
    return pa.concat_tables([page_of(schema, []), *pages]).unify_dictionaries()


def frame_of(table: pa.Table) -> "pd.DataFrame":
    """Convert a table, which must not be used afterwards: its columns are freed one by one."""
    try:
        import pandas as pd  # noqa: PLC0415 - only people who analyse results need it
    except ModuleNotFoundError as error:
        raise IttybatchError(
            "pandas is not installed here.",
            remedy="Install it: `pip install pandas`. The container image leaves it out; build an "
            "image of your own from it.",
        ) from error

    integers: dict[pa.DataType, Any] = {pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = table.to_pandas(
        types_mapper=lambda kind: integers.get(kind),  # noqa: PLW0108 - `get` is overloaded
        split_blocks=True,
        self_destruct=True,
    )
    return frame
