"""Plan a batch: read its source page by page, and write each page's jobs to the ledger."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import orjson

from ittybatch.engine.ahead import bulk_work, read_ahead
from ittybatch.engine.existing import ExistingOutputs
from ittybatch.engine.originals import Listed, Originals
from ittybatch.engine.seen_destinations import SeenDestinations
from ittybatch.engine.unchanged import Alike, Remaining, leave_out_held, objects_by_fit
from ittybatch.errors import IttybatchError
from ittybatch.ittybit.options import InvalidOptions
from ittybatch.ledger import Ledger, Transaction
from ittybatch.ledger.batches import OpenBatch, finish_planning, read_batch
from ittybatch.ledger.claims import Claims
from ittybatch.ledger.destinations import chunks_of, listed_items
from ittybatch.ledger.lookups import Occupant
from ittybatch.ledger.plan import PlannedItem, PlannedPage, PlannedReject
from ittybatch.ledger.planning import NotPlanning, plan_page
from ittybatch.ledger.retrying import RetryFilter, ended_jobs
from ittybatch.profiles import Item, Profile, ProfileError, Profiles
from ittybatch.profiles.blueprint import Fit
from ittybatch.sources import (
    BucketSource,
    FailedJobsSource,
    ManifestSource,
    Page,
    QueueSource,
    ReadableSource,
    RequestsSource,
    Source,
    SourceError,
    SqlSource,
    read_pages,
)
from ittybatch.sources.failed import EVERY_BATCH
from ittybatch.sources.moment import fixed
from ittybatch.sources.rows import printable

PAGE_SIZE = 5000
SAMPLE_SIZE = 20
_CHUNKS_AT_ONCE = 50


@dataclass(slots=True)
class Preview:
    """The result of a dry run.

    Args:
        counts: Numbers of items and jobs, under the same names as the counts of a batch.
        sample: The first jobs, as rows.
        rejects: The first rows that could not become items.
    """

    counts: Counter[str] = field(default_factory=Counter)
    sample: list[dict[str, str]] = field(default_factory=list)
    rejects: list[PlannedReject] = field(default_factory=list)


def plan_batch(
    ledger: Ledger,
    batch: OpenBatch,
    source: Source,
    profiles_dir: Path,
    *,
    chunk_size: int,
    canary_items: int = 0,
    on_page: Callable[[Mapping[str, int]], None] = lambda _: None,
    why_ask: Callable[[Mapping[str, int]], str | None] = lambda _: None,
    skip_existing: bool = False,
    again: bool = False,
) -> OpenBatch:
    """Read a source to its end, or until the batch is held or cancelled.

    Planning continues where an earlier leg stopped.

    Args:
        ledger: The ledger to write the plan to.
        batch: The batch to plan.
        source: The source to read.
        profiles_dir: Folder of the profiles that rows of a manifest may name.
        chunk_size: Items per chunk.
        canary_items: Items of the first chunk as a canary; 0 for no canary.
        on_page: Called with the counts after each page.
        why_ask: Returns why a plan with these counts needs approval, or None.
        skip_existing: Leave out jobs whose output exists.
        again: Make finished jobs again.

    Raises:
        SourceError: The source cannot be read. Pages planned before stay in the ledger.
    """
    if batch.scan_done:
        return batch
    cursor = batch.scan_cursor
    profile = Profile.from_mapping(batch.profile)
    with (
        bulk_work(),
        closing(
            _pages(
                ledger,
                source,
                (profile, profiles_dir),
                cursor,
                batch=batch.id,
                skip_existing=skip_existing,
                again=again,
            )
        ) as pages,
    ):
        for page in pages:
            try:
                counts = ledger.write(
                    plan_page,
                    batch.id,
                    page,
                    after=cursor,
                    chunk_size=chunk_size,
                    canary_items=canary_items,
                )
            except NotPlanning:
                # This page has not been acknowledged to its source.
                return ledger.read(read_batch, batch.id)
            on_page(counts)
            cursor = (
                page.cursor if page.acknowledge is None else _acknowledge(ledger, batch.id, page)
            )
    counts = ledger.read(read_batch, batch.id).counts
    return ledger.write(finish_planning, batch.id, why_ask(counts))


def _acknowledge(ledger: Ledger, batch: str, page: PlannedPage) -> str | None:
    """Acknowledge a committed page to its source; return the cursor in the ledger.

    If another leg committed its page first, this page was skipped. It is not acknowledged, so its
    source sends it again.
    """
    cursor = ledger.read(read_batch, batch).scan_cursor
    if cursor == page.cursor and page.acknowledge is not None:
        page.acknowledge()
    return cursor


def preview(
    ledger: Ledger,
    source: Source,
    profile: Profile,
    profiles_dir: Path,
    *,
    on_page: Callable[[Mapping[str, int]], None] = lambda _: None,
    skip_existing: bool = False,
    again: bool = False,
) -> Preview:
    """Read a source to its end and report what a run would do. Write nothing.

    Raises:
        SourceError: The source cannot be read.
    """
    result = Preview()
    # 64-bit hashes are exact enough to count duplicates, and a million of them need little memory.
    seen: set[int] = set()
    by = (profile, profiles_dir)
    pages = _pages(ledger, source, by, None, skip_existing=skip_existing, again=again)
    with closing(SeenDestinations()) as destinations:
        for page in pages:
            result.counts.update(page.counts)
            unseen = _unseen(page, seen, result.counts)
            claims = ledger.read(_claims, unseen, destinations.occupants_of(unseen))
            planned = claims.sort(unseen, result.counts)
            destinations.add(planned)
            rejects = [*page.rejects, *claims.refused]
            result.counts["rejected"] += len(rejects)
            result.rejects.extend(rejects[: SAMPLE_SIZE - len(result.rejects)])
            _add_sample(result.sample, planned)
            on_page(result.counts)
    return result


def _claims(transaction: Transaction, page: PlannedPage, earlier: Sequence[Occupant]) -> Claims:
    return Claims(transaction, None, page, earlier)


def _add_sample(sample: list[dict[str, str]], planned: Sequence[PlannedItem]) -> None:
    rows = (
        {
            "input": job.input,
            "rendition": job.rendition,
            "kind": job.kind.value,
            "destination": job.destination or "",
        }
        for item in planned
        for job in item.jobs
    )
    sample.extend(islice(rows, SAMPLE_SIZE - len(sample)))


def _unseen(page: PlannedPage, seen: set[int], counts: Counter[str]) -> PlannedPage:
    items = []
    for planned in page.items:
        new = []
        for job in planned.jobs:
            key = hash(job.job_key)
            if key in seen:
                counts["duplicates"] += 1
            else:
                seen.add(key)
                new.append(job)
        if new:
            items.append(PlannedItem(planned.item, new))
    return replace(page, items=items, counts={})


def _pages(
    ledger: Ledger,
    source: Source,
    by: tuple[Profile, Path],
    cursor: str | None,
    *,
    batch: str | None = None,
    skip_existing: bool,
    again: bool,
) -> Generator[PlannedPage]:
    if isinstance(source, FailedJobsSource):
        yield from _ended_pages(ledger, source, cursor)
        return
    if isinstance(source, RequestsSource):
        raise SourceError("Requests are taken by the receiver; no run reads them.")
    profile, profiles = by_all = (by[0], Profiles(by[1]))
    # With `skip_existing`, every existing output is counted, even if another batch made it. A
    # manifest has mostly new items, so looking for held jobs first would cost more than it saves.
    whole = skip_existing or again or isinstance(source, ManifestSource)
    pages = _read(source, profile, profiles, cursor, whole=whole)
    earlier = None
    if batch is not None and cursor is not None:
        earlier = partial(_listed_before, ledger, batch, source, cursor)
    with (
        closing(pages),
        ExistingOutputs() as existing,
        closing(Originals(batch, earlier)) as originals,
    ):
        found = (
            (_planned(page, leave_out_held(ledger, batch, page.items, objects), *by_all), page)
            for page, objects in pages
        )
        # The outputs of a scan go to other folders than its items.
        compares = isinstance(source, (ManifestSource, SqlSource))
        planned = (
            originals.compared(each, page.items) if compares else each for each, page in found
        )
        if isinstance(source, QueueSource):
            planned = (replace(page, versions=True) for page in planned)
        if skip_existing:
            planned = (existing.without(page) for page in planned)
        if again:
            planned = (replace(page, remake=True) for page in planned)
        # Do not read a queue ahead: its messages are deleted after each page, and the rest are
        # returned to the queue at the end.
        yield from planned if isinstance(source, QueueSource) else read_ahead(planned)


def _listed_before(
    ledger: Ledger, batch: str, source: ReadableSource, cursor: str
) -> Iterator[Listed]:
    """Read what earlier legs of a batch have listed, also the items without jobs."""
    if isinstance(source, SqlSource):
        chunks = ledger.read(chunks_of, batch)
        for start in range(0, len(chunks), _CHUNKS_AT_ONCE):
            yield ledger.read(listed_items, chunks[start : start + _CHUNKS_AT_ONCE])
    for page in read_pages(source, page_size=PAGE_SIZE):
        yield [(item.uri, item.line) for item in page.items]
        if page.cursor == cursor:
            return


def _read(
    source: ReadableSource, profile: Profile, profiles: Profiles, cursor: str | None, *, whole: bool
) -> Generator[tuple[Page, Mapping[Fit, Alike]]]:
    """Read pages, each with the objects that may be left out; with no objects if `whole`.

    The listing of a bucket continues while the ledger is queried about the previous page.
    """
    pages = (page for page in read_pages(source, cursor=cursor, page_size=PAGE_SIZE))
    listed = isinstance(source, BucketSource)
    sorted_pages = (
        (page, {} if whole else objects_by_fit(page.items, profile, profiles))
        for page in (read_ahead(pages) if listed else pages)
    )
    return read_ahead(sorted_pages) if listed else sorted_pages


def _planned(page: Page, remaining: Remaining, profile: Profile, profiles: Profiles) -> PlannedPage:
    counts: Counter[str] = Counter({"found": len(page.items), **remaining.counts})
    counts.update({f"filtered:{rule}": count for rule, count in page.filtered.items()})
    rejects = [
        PlannedReject(
            each.line,
            printable(each.field),
            printable(each.reason),
            printable(each.row_excerpt),
        )
        for each in page.rejects
    ]
    items: list[PlannedItem] = []
    for item in remaining.items:
        try:
            chosen = profiles.get(item.profile) if item.profile else profile
            jobs = chosen.jobs_for(item)
        except IttybatchError as error:
            rejects.append(_reject(item, error))
            continue
        if item.kind is None:
            counts["skipped"] += len(chosen.renditions) - len(jobs)
        if jobs:
            items.append(PlannedItem(item, jobs))
        else:
            counts["without_rendition"] += 1
    return PlannedPage(items, rejects, counts, page.cursor, acknowledge=page.acknowledge)


def _reject(item: Item, error: IttybatchError) -> PlannedReject:
    match error:
        case ProfileError():
            field_name = "profile"
        case InvalidOptions():
            field_name = "options"
        case _:
            field_name = "input"
    return PlannedReject(item.line, field_name, printable(str(error)), printable(item.shown[:500]))


def wanted_of(source: FailedJobsSource) -> RetryFilter:
    """Convert a source of failed jobs into the ledger's query."""
    return RetryFilter(
        None if source.batch == EVERY_BATCH else source.batch,
        [state.value for state in source.states],
        source.reason,
        fixed(source.ended_since),
        fixed(source.ended_before),
        source.jobs,
        alike=source.alike,
        skip_retried=source.skip_retried,
        recorded_before=source.recorded_before,
    )


def _ended_pages(
    ledger: Ledger, source: FailedJobsSource, cursor: str | None
) -> Iterator[PlannedPage]:
    place = orjson.loads(cursor) if cursor else {"after": 0, "found": 0}
    after, total = place["after"], place.get("found", 0)
    wanted = wanted_of(source)
    while rows := ledger.read(ended_jobs, wanted, after=after, limit=PAGE_SIZE):
        if source.most_jobs is not None:
            rows = rows[: max(0, source.most_jobs - total)]
            if not rows:
                return
        after = rows[-1].id
        total += len(rows)
        yield PlannedPage(
            items=[PlannedItem(row.item, [row.job]) for row in rows],
            rejects=[],
            counts={"found": len(rows)},
            cursor=orjson.dumps({"after": after, "found": total}).decode(),
            again=[row.id for row in rows],
            # A replaced object may have failed in several batches.
            versions=True,
        )
