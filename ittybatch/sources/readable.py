"""Tells a source with bad rows from one in which nothing can be read."""

from collections.abc import Callable, Iterator

from ittybatch.sources.errors import SourceError
from ittybatch.sources.page import Page

# Rejects that may come before the first sound row.
MAX_REJECTS_FIRST = 5000


def refuse_unreadable(
    pages: Iterator[Page], unusable: Callable[[str], SourceError]
) -> Iterator[Page]:
    """Give a source's pages, but none before one of them has an item.

    A web server's error page, or a file of another kind, is one reject after the other. It must
    not pass for a source that was read, nor must its lines be kept and shown.

    Args:
        pages: The source's pages, from its beginning.
        unusable: Makes an error of a reason.

    Raises:
        SourceError: There are rejects and not one item, or none among the first
            `MAX_REJECTS_FIRST` rows.
    """
    held: list[Page] = []
    rejects = 0
    for page in pages:
        held.append(page)
        if page.items:
            yield from held
            yield from pages
            return
        rejects += len(page.rejects)
        if rejects >= MAX_REJECTS_FIRST:
            raise unusable(f"none of its first {rejects:,} rows can be read{_first(held)}")
    if rejects:
        count = f"none of its {rejects:,} rows can" if rejects > 1 else "its only row cannot"
        raise unusable(f"{count} be read{_first(held)}")
    yield from held


def _first(held: list[Page]) -> str:
    reject = next(reject for page in held for reject in page.rejects)
    where = f"line {reject.line}, " if reject.line is not None else ""
    return f" (the first: {where}{reject.field}: {reject.reason})"
