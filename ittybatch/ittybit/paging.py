"""Walks a list of jobs by cursor, and knows when it has ended."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ittybatch.ittybit.answer import Answer
from ittybatch.ittybit.job import Job, UnreadableJob, read_job
from ittybatch.ittybit.values import record, whole

_LIST_KEYS = ("data", "jobs", "items")


class Pages:
    """Where a listing stands.

    A short page, `Has-More: false`, or a page that ends where one before it did ends the list.
    The last is for servers that know no cursors, and would give the same page for ever.

    Args:
        page_size: Jobs asked for a page; a server that gives fewer says so in `Limit`.
        after: The job that the first page comes after, by its id.
    """

    def __init__(self, page_size: int, after: str | None = None) -> None:
        self._page_size = page_size
        self._cursors: set[str] = set()
        self._last_page: set[str] = set()
        self.cursor = after
        self.ended = False

    def take(self, answer: Answer) -> list[Job]:
        """The new jobs of a page; call it once for each."""
        items = _items(answer)
        jobs = list(_jobs(items))
        if items and not jobs:
            raise answer.unreadable("its list holds no job with an id")
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
        raise answer.unreadable("its body holds no list of jobs")
    return found


def _jobs(items: list[Any]) -> Iterator[Job]:
    for item in items:
        with suppress(UnreadableJob):
            yield read_job(item)
