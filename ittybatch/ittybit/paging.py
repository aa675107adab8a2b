"""Follows the pages of a job list by cursor until the last one."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ittybatch.ittybit.answer import Answer
from ittybatch.ittybit.job import Job, UnreadableJob, read_job
from ittybatch.ittybit.values import record, whole

_LIST_KEYS = ("data", "jobs", "items")


class Pages:
    """The position in a job list.

    The list ends with a short page, with `Has-More: false`, or with a page that ends like an
    earlier one. The last rule is for servers that ignore cursors: they would return the same
    page forever.

    Args:
        page_size: Jobs requested per page; a server with a lower limit sends it in `Limit`.
        after: The id of the job that precedes the first page.
    """

    def __init__(self, page_size: int, after: str | None = None) -> None:
        self._page_size = page_size
        self._cursors: set[str] = set()
        self._last_page: set[str] = set()
        self.cursor = after
        self.ended = False

    def take(self, answer: Answer) -> list[Job]:
        """The new jobs of a page; call it once per page."""
        items = _items(answer)
        jobs = list(_jobs(items))
        if items and not jobs:
            raise answer.unreadable("its list contains no job with an id")
        fresh = [job for job in jobs if job.id not in self._last_page]
        if not fresh or fresh[-1].id in self._cursors:
            self.ended = True
            return []
        self.ended = self._is_last(answer, len(items))
        self._last_page = {job.id for job in jobs}
        self.cursor = fresh[-1].id
        self._cursors.add(self.cursor)
        return fresh

    def _is_last(self, answer: Answer, count: int) -> bool:
        more: str = answer.headers.get("has-more", "").strip().lower()
        if more in {"true", "false"}:
            return more == "false"
        given = whole(answer.headers.get("limit")) or self._page_size
        return count < min(given, self._page_size)


def _items(answer: Answer) -> list[Any]:
    payload = answer.payload()
    wrapper = record(payload) or {}
    candidates = [payload, *(wrapper.get(key) for key in _LIST_KEYS)]
    found = next((value for value in candidates if isinstance(value, list)), None)
    if found is None:
        raise answer.unreadable("its body contains no list of jobs")
    return found


def _jobs(items: list[Any]) -> Iterator[Job]:
    for item in items:
        with suppress(UnreadableJob):
            yield read_job(item)
