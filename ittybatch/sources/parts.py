"""The parts of an S3 Inventory: CSV, ORC and Parquet files, read in batches of rows."""

import io
from collections.abc import Iterator
from gzip import GzipFile
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, cast

from ittybatch.sources.answer import ARCHIVES, as_size, as_time
from ittybatch.sources.cells import as_text
from ittybatch.sources.entry import Entry, bare_etags, decode_key

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["CSV", "ORC", "Parquet"]

_BLOCK_BYTES = 1024 * 1024
# Titles without underscores and capitals: CSV has `VersionId`, ORC has `version_id`.
_KEY, _VERSION, _ETAG = "key", "versionid", "etag"
_LATEST, _DELETED = "islatest", "isdeletemarker"
_SIZE, _MODIFIED = "size", "lastmodifieddate"
_CLASS, _TIER = "storageclass", "intelligenttieringaccesstier"
_WANTED = {_KEY, _VERSION, _ETAG, _LATEST, _DELETED, _SIZE, _MODIFIED, _CLASS, _TIER}
_ARCHIVE_TIERS = frozenset({"ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"})


class PartRows(NamedTuple):
    """A batch of rows.

    Args:
        read: How many rows were read.
        entries: The objects among them, without old versions and delete markers.
    """

    read: int
    entries: list[Entry]


def read_part(
    file: IO[bytes],
    form: Format,
    titles: list[str],
    *,
    skip: int,
    limit: int,
    versioned: bool,
) -> Iterator[PartRows]:
    """Read a part in batches.

    Args:
        file: The part.
        form: Its format.
        titles: Columns of a CSV part, which has no header; the other formats name them.
        skip: Rows to skip.
        limit: Rows in a batch at most.
        versioned: Whether the version id identifies an object, instead of its ETag.

    Raises:
        ValueError: The part cannot be read.
        OSError: The part cannot be read.
        EOFError: The part ends early.
        zlib.error: The part is damaged.
    """
    for batch in _batches(file, form, titles, limit):
        passed = min(skip, batch.num_rows)
        skip -= passed
        for start in range(passed, batch.num_rows, limit):
            rows = batch.slice(start, limit)
            yield PartRows(rows.num_rows, _entries(rows, form, versioned=versioned))


def lacking(titles: list[str], needed: dict[str, str]) -> list[str]:
    """List the columns that are missing, as `column (what it is needed for)`."""
    there = {_plain(title) for title in titles}
    return [f"{name} ({why})" for name, why in needed.items() if _plain(name) not in there]


def titles_of(form: Format, layout: str) -> list[str]:
    """Read the columns of an inventory from its manifest's `fileSchema`."""
    if form == "CSV":
        return [title.strip() for title in layout.split(",")]
    if form == "ORC":
        # struct<bucket:string,key:string,...>
        inside = layout.partition("<")[2].rpartition(">")[0]
        return [field.partition(":")[0].strip() for field in inside.split(",")]
    # message s3.inventory { required binary bucket (UTF8); ... }
    fields = layout.partition("{")[2].rpartition("}")[0].split(";")
    return [words[2] for field in fields if len(words := field.split()) > 2]  # noqa: PLR2004


def _batches(
    file: IO[bytes], form: Format, titles: list[str], limit: int
) -> "Iterator[pa.RecordBatch]":
    # Slow to import, and few flow runs need it.
    from pyarrow import orc, parquet  # noqa: PLC0415

    if form == "CSV":
        yield from _csv_batches(file, titles)
    elif form == "ORC":
        stripes = orc.ORCFile(file)
        columns = _columns(stripes.schema)
        for number in range(stripes.nstripes):
            yield stripes.read_stripe(number, columns=columns)
    else:
        groups = parquet.ParquetFile(file)
        columns = _columns(groups.schema_arrow)
        yield from groups.iter_batches(batch_size=limit, columns=columns)


def _csv_batches(file: IO[bytes], titles: list[str]) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa  # noqa: PLC0415 - see above
    from pyarrow import csv  # noqa: PLC0415

    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    unpacked: IO[bytes] = cast("IO[bytes]", GzipFile(fileobj=file)) if packed else file
    stream = io.BufferedReader(cast("io.RawIOBase", unpacked), _BLOCK_BYTES)
    if not stream.peek(1):
        # pyarrow raises an error for a file without rows.
        return
    wanted = [title for title in titles if _plain(title) in _WANTED]
    yield from csv.open_csv(
        stream,
        read_options=csv.ReadOptions(
            column_names=titles, block_size=_BLOCK_BYTES, use_threads=False
        ),
        convert_options=csv.ConvertOptions(
            column_types={title: pa.string() for title in wanted}, include_columns=wanted
        ),
    )


def _columns(schema: "pa.Schema") -> list[str]:
    return [name for name in schema.names if _plain(name) in _WANTED]


def _plain(title: str) -> str:
    return title.replace("_", "").lower()


def _entries(rows: "pa.RecordBatch", form: Format, *, versioned: bool) -> list[Entry]:
    # Imports pyarrow, see above.
    from ittybatch.sources.parquet import values_of  # noqa: PLC0415

    nothing: list[Any] = [None] * rows.num_rows
    values = {_plain(name): values_of(rows.column(name)) for name in rows.schema.names}
    for column in values.values():
        # A schema may say `binary` without UTF8.
        if isinstance(next((each for each in column if each is not None), None), bytes):
            column[:] = [each if each is None else as_text(each) for each in column]

    def of(name: str) -> list[Any]:
        return values.get(name, nothing)

    found: list[Entry] = []
    columns = (of(_KEY), of(_VERSION), of(_LATEST), of(_DELETED), of(_SIZE), of(_MODIFIED))
    for key, version, latest, deleted, size, modified, etag, storage, tier in zip(
        *columns, bare_etags(of(_ETAG)), of(_CLASS), of(_TIER), strict=True
    ):
        if not key or _is(latest, "false") or _is(deleted, "true"):
            continue
        found.append(
            Entry(
                # Only CSV encodes keys, with a plus for a space.
                decode_key(key) if form == "CSV" else key,
                as_size(size),
                version if versioned and version and version != "null" else etag,
                as_time(modified),
                storage in ARCHIVES or tier in _ARCHIVE_TIERS,
            )
        )
    return found


def _is(value: object, word: str) -> bool:
    return value is not None and str(value).lower() == word
