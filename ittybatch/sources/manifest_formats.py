"""Which format a manifest has, by its name."""

from typing import Literal
from urllib.parse import urlsplit

Format = Literal["csv", "tsv", "jsonl", "parquet", "excel"]

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",
}
_PACKED = (".gz", ".gzip", ".zst", ".zstd")
_TEXT: frozenset[Format] = frozenset({"csv", "tsv", "jsonl"})
DELIMITERS: dict[Format, str] = {"csv": ",", "tsv": "\t"}
SUFFIXES = (*_SUFFIXES, ".gz", ".zst")
_UNREADABLE = {
    (".xls", ".xlsb", ".ods", ".numbers"): "this kind of sheet is not read; save it as .xlsx",
    (".xz", ".bz2", ".zip", ".7z", ".rar", ".tar"): "this kind of archive is not read; unpack it, "
    "or pack it with gzip (.csv.gz) or zstd (.csv.zst)",
    (".json",): "JSON is read with one object a line; write it so, for instance with "
    "`jq -c '.[]' list.json > list.jsonl`",
    (".avro", ".orc", ".feather", ".arrow"): "this format is not read; write Parquet",
}


def unreadable_name(uri: str) -> str | None:
    """Say by the end of its name why a file cannot be read, and what to do; None if it may be."""
    path = urlsplit(uri).path if "://" in uri else uri
    return next((why for ends, why in _UNREADABLE.items() if path.lower().endswith(ends)), None)


def format_of(uri: str) -> Format | None:
    """Tell a manifest's format by the end of its name; None where that says nothing.

    Args:
        uri: Path, `s3://` or `https://` URI. Text may be packed: `.csv.gz`, `.jsonl.zst`.
    """
    # A question mark is a character like any other in an S3 key or a file's name.
    path = urlsplit(uri).path if uri.startswith(("http://", "https://")) else uri
    name = path.lower().rpartition("/")[2]
    packed = next((suffix for suffix in _PACKED if name.endswith(suffix)), "")
    stem = name.removesuffix(packed)
    found = next((form for suffix, form in _SUFFIXES.items() if stem.endswith(suffix)), None)
    return None if packed and found not in _TEXT else found
