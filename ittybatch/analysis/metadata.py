"""The metadata of jobs as columns: one for each name that a job has."""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pyarrow as pa

from ittybatch.errors import IttybatchError
from ittybatch.sources.columns import MAX_COLUMNS, METADATA_PREFIX


class MetadataColumns:
    """Collects the metadata of jobs, page by page. A job without a name has a null there."""

    def __init__(self) -> None:
        self._pages: dict[str, list[pa.Array[Any]]] = {}
        self._rows = 0

    def add(self, texts: Sequence[str]) -> None:
        """Add a page.

        Args:
            texts: The metadata of each job, as a JSON object.

        Raises:
            IttybatchError: The jobs have too many names for columns.
        """
        given = [orjson.loads(text) for text in texts]
        for name in dict.fromkeys(name for each in given for name in each):
            if name not in self._pages:
                self._pages[name] = [pa.nulls(self._rows, pa.string())]
        if len(self._pages) > MAX_COLUMNS:
            raise IttybatchError(
                f"The jobs of this batch have metadata of more than {MAX_COLUMNS} names, too many "
                "for columns.",
                remedy="Read them without it: `results(batch, metadata=False)`.",
            )
        for name, pages in self._pages.items():
            pages.append(pa.array([_text(each.get(name)) for each in given], pa.string()))
        self._rows += len(given)

    def columns(self) -> Iterator[tuple[str, "pa.ChunkedArray[Any]"]]:
        """Yield the columns, each with its title as in a manifest."""
        for name in sorted(self._pages):
            yield f"{METADATA_PREFIX}{name}", pa.chunked_array(self._pages[name], pa.string())


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
