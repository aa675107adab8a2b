"""A DataFrame as a manifest that a batch reads: a Parquet file of its known columns."""

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
import pyarrow as pa
from pyarrow import parquet

from ittybatch.engine.reports.places import NotWritten, whole, within
from ittybatch.home import private_folder
from ittybatch.sources import ManifestSource, SourceError
from ittybatch.sources.columns import Columns
from ittybatch.sources.origins import require_allowed
from ittybatch.sources.s3 import SCHEME

if TYPE_CHECKING:
    import pandas as pd


def write_manifest(frame: "pd.DataFrame", folder: str | None, home: Path) -> ManifestSource:
    """Write a frame as a manifest, and return the source that reads it.

    Columns that a manifest does not have are left out; `metadata.NAME` is kept.

    Args:
        frame: A row for each item.
        folder: A folder or `s3://bucket/prefix/` that the batch can read; None for the home.
        home: The home. Its folder `manifests` is private.

    Raises:
        SourceError: The frame cannot be a manifest, or cannot be written.
        ConfigurationError: Batches may not read files of the folder.
    """
    table = _table(frame)
    name = f"frame-{uuid4()}.parquet"
    if folder is None:
        place = str(private_folder(home / "manifests") / name)
    elif folder.startswith(SCHEME):
        place = within(folder, name)
    else:
        place = str(Path(folder).expanduser().absolute() / name)
    if not place.startswith(SCHEME):
        require_allowed(Path(place))
    try:
        with whole(place) as stream:
            parquet.write_table(table, stream)
    except NotWritten as error:
        raise SourceError(
            f"The frame cannot be written to {place}, and nothing was submitted: {error.message}",
            remedy="Set `manifest_to` to a folder or s3://bucket/prefix/ that you may write to.",
        ) from error
    return ManifestSource(uri=place, format="parquet")


def _table(frame: "pd.DataFrame") -> pa.Table:
    try:
        columns = Columns.from_header([str(title) for title in frame.columns])
    except ValueError as error:
        raise SourceError(
            f"The frame cannot be a manifest, and nothing was submitted: {error}.",
            remedy="Rename its columns: `input` is needed, docs/sources.md lists the others.",
        ) from error
    arrays = [_array(frame.iloc[:, place]) for place in columns.read]
    # By their known names: without the columns that are left out, a title may mean another.
    return pa.Table.from_arrays(arrays, names=[columns.names[place] for place in columns.read])


def _array(column: "pd.Series[Any]") -> "pa.Array[Any] | pa.ChunkedArray[Any]":
    try:
        # Arrow would give every object the names of all of them, with nulls.
        plain = column.map(_as_json) if column.dtype == object else column
        found: pa.Array[Any] | pa.ChunkedArray[Any] = pa.Array.from_pandas(plain)
    # Also what is no Unicode text, and integers that are too large.
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        title = str(column.name)
        raise SourceError(
            f"The frame cannot be a manifest, and nothing was submitted: its column `{title}` "
            "holds values of several types, or one that cannot be written.",
            remedy=f"Make them text: frame[{title!r}] = frame[{title!r}].astype('str')",
        ) from error
    return found


def _as_json(value: object) -> object:
    if not isinstance(value, dict | list):
        return value
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
