"""Claims: which jobs of a page are new, and why the other jobs are held."""

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import select, update

from ittybatch.ledger.control import cancel_unsent
from ittybatch.ledger.database import Transaction
from ittybatch.ledger.destinations import Destinations, in_danger, refusal
from ittybatch.ledger.lending import lenders_of, return_claims
from ittybatch.ledger.lookups import KnownJob, Occupant, jobs_of_keys, lock_jobs, occupants_of
from ittybatch.ledger.made_jobs import MadeJob
from ittybatch.ledger.models import Chunk, Job
from ittybatch.ledger.plan import PlannedItem, PlannedPage, PlannedReject
from ittybatch.ledger.states import WILL_NOT_SEND, BatchState, JobState
from ittybatch.profiles import Item, JobSpec

_ROWS_PER_STATEMENT = 5000


class Claims:
    """Which jobs of a page are new, and why the other jobs are held.

    Args:
        transaction: The transaction to look in.
        batch: The batch that is being planned; None for a dry run.
        page: The page.
        earlier: In a dry run, the jobs of earlier pages that write to this page's destinations.
        growing: Whether the batch takes requests while it runs: a job of its own may have ended,
            and count like one of another batch.
        known: The jobs of the page's keys, if the caller has looked them up.

    Attributes:
        attempts: The number of attempts so far, by job key.
        refused: Items that do not get all jobs because a destination is taken, and items that an
            earlier job would replace.
        taken_over: Unsent jobs whose claims were taken over.
        replacing: Items of the page that jobs on earlier pages would replace.
    """

    def __init__(
        self,
        transaction: Transaction,
        batch: str | None,
        page: PlannedPage,
        earlier: Iterable[Occupant] = (),
        *,
        growing: bool = False,
        known: Iterable[KnownJob | MadeJob] | None = None,
    ) -> None:
        self._batch = batch
        self._growing = growing
        self._retry_ids = frozenset(page.again)
        self._remake = page.remake
        self._held: dict[str, str] = {}
        # Claims that this batch may take over, by job key: unsent jobs as (job, chunk), and ended
        # jobs to make again.
        self._unsent: dict[str, tuple[int, int]] = {}
        self._ended: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        # By job key, the newest attempt that succeeded, and the newest that is to be made again.
        self._succeeded: dict[str, int] = {}
        self._retried: dict[str, int] = {}
        # Each key once: otherwise a job would be taken over twice.
        keys = dict.fromkeys(job.job_key for item in page.items for job in item.jobs)
        for job in jobs_of_keys(transaction, list(keys)) if known is None else known:
            self._read(job)
        if batch is not None and transaction.postgres:
            self._lock(transaction)
        self._keep_succeeded()
        self._keep_held_back(transaction)
        self.refused: list[PlannedReject] = []
        self.taken_over: list[int] = []
        self.replacing: list[str] = []
        self._destinations = self._load_destinations(transaction, page, earlier)

    def _read(self, job: KnownJob | MadeJob) -> None:
        key = job.job_key
        self.attempts[key] = max(job.attempt, self.attempts.get(key, 0))
        state = JobState(job.state)
        if state is JobState.SUCCEEDED:
            self._succeeded[key] = max(job.attempt, self._succeeded.get(key, 0))
        elif job.id in self._retry_ids:
            self._retried[key] = max(job.attempt, self._retried.get(key, 0))
        if job.claim is None:
            return
        if job.batch_id == self._batch and not self._growing:
            # Even while the batch is held: it takes over no job of its own.
            self._held[key] = "duplicates"
        elif (
            state is JobState.PLANNED
            and job.batch_id != self._batch
            and BatchState(job.batch_state) in WILL_NOT_SEND
        ):
            self._unsent[key] = (job.id, job.chunk_id)
        elif state.terminal and (
            self._remake or (job.id in self._retry_ids and state is not JobState.SUCCEEDED)
        ):
            self._ended[key] = job.id
        elif state is JobState.SUCCEEDED:
            self._held[key] = "already_done"
        elif state.terminal:
            self._held[key] = "held_back"
        else:
            self._held[key] = "in_flight_elsewhere"

    def _lock(self, transaction: Transaction) -> None:
        """Lock the jobs that may be taken over, and read them again.

        A batch may have been resumed or cancelled since, or a job may have ended.
        """
        jobs = [*(job for job, _ in self._unsent.values()), *self._ended.values()]
        self._unsent, self._ended = {}, {}
        for known in lock_jobs(transaction, jobs):
            self._read(known)

    def _keep_succeeded(self) -> None:
        """Hold succeeded jobs, even if a batch that was to make them again has the claim.

        That batch may have been held or cancelled; this one was not asked to pay again.
        """
        if self._remake:
            return
        for key, attempt in self._succeeded.items():
            # A failure from before the success needs no other attempt.
            if attempt >= self._retried.get(key, -1):
                self._unsent.pop(key, None)
                self._ended.pop(key, None)
                self._held.setdefault(key, "already_done")

    def _keep_held_back(self, transaction: Transaction) -> None:
        """Hold back jobs that a batch was to make again and has not sent.

        That batch may wait for its approval; this one was not asked to pay again.
        """
        if self._remake:
            return
        unsent = [job for key, (job, _) in self._unsent.items() if key not in self._retried]
        for lender in lenders_of(transaction, unsent):
            del self._unsent[lender.job_key]
            self._held[lender.job_key] = "held_back"

    def _load_destinations(
        self, transaction: Transaction, page: PlannedPage, earlier: Iterable[Occupant]
    ) -> Destinations | None:
        """The destinations and their occupants; None if there can be no conflict."""
        held = self._held
        wanted = [
            job.destination
            for item in page.items
            for job in item.jobs
            if job.destination is not None and job.job_key not in held
        ]
        if not wanted and not page.endangered:
            return None
        distinct = dict.fromkeys(wanted)
        looked_up = list(distinct | dict.fromkeys(uri for uri, _ in page.endangered))
        occupants = [*occupants_of(transaction, looked_up), *earlier, *page.originals]
        if len(distinct) == len(wanted) and not occupants:
            return None
        # In a batch of requests, an item may come again with another version or other metadata.
        batch = None if self._growing else self._batch
        return Destinations(batch, occupants, versions=page.versions)

    def why_held(self, job_key: str) -> str | None:
        """Why a job is not new, by the names of `plan_page`; None if it is. Ask before `sort`."""
        return self._held.get(job_key)

    def sort(self, page: PlannedPage, counts: Counter[str]) -> list[PlannedItem]:
        """Return the items with their new jobs; count the other jobs by why they are held."""
        found: list[PlannedItem] = []
        held = self._held
        new_jobs: Counter[tuple[str, str]] = Counter()
        size_bytes = 0
        for item in page.items:
            jobs = self._new_jobs(item, counts)
            if len(jobs) < len(item.jobs):
                if not jobs:
                    continue
                item = PlannedItem(item.item, jobs)  # noqa: PLW2901
            for job in jobs:
                held[job.job_key] = "duplicates"
                new_jobs[job.kind, job.rendition] += 1
            size_bytes += item.item.size_bytes or 0
            found.append(item)
        self._find_endangered(page, counts)
        if self._remake:
            keys = (job.job_key for item in found for job in item.jobs)
            counts["again"] += sum(key in self._ended for key in keys)
        for (kind, rendition), count in new_jobs.items():
            counts["jobs"] += count
            counts[f"kind:{kind}"] += count
            counts[f"rendition:{rendition}"] += count
        if found:
            counts["items"] += len(found)
            counts["bytes"] += size_bytes
        return found

    def _find_endangered(self, page: PlannedPage, counts: Counter[str]) -> None:
        """Name the items of the page that jobs on earlier pages would replace."""
        if self._destinations is None:
            return
        for uri, line in page.endangered:
            if (other := self._destinations.replacing(uri)) is not None:
                self.replacing.append(uri)
                counts["same_destination"] += 1
                item = Item(uri, line=line)
                self.refused.append(
                    PlannedReject(line, "destination", in_danger(item, other), item.shown[:500])
                )

    def _new_jobs(self, planned: PlannedItem, counts: Counter[str]) -> Sequence[JobSpec]:
        # For almost every item all jobs are new; then no new list is needed.
        jobs = planned.jobs
        held = self._held
        keys = {job.job_key for job in jobs}
        # `isdisjoint` iterates over its argument, and the held keys are many more.
        if len(keys) < len(jobs) or not held.keys().isdisjoint(keys):
            jobs = []
            for job in planned.jobs:
                if (why := held.get(job.job_key)) is not None:
                    counts[why] += 1
                else:
                    held[job.job_key] = "duplicates"
                    jobs.append(job)
        if self._destinations is None:
            return jobs
        return self._without_conflicts(planned.item, jobs, self._destinations, counts)

    def _without_conflicts(
        self,
        item: Item,
        jobs: Sequence[JobSpec],
        destinations: Destinations,
        counts: Counter[str],
    ) -> Sequence[JobSpec]:
        """Leave out jobs whose destination belongs to another item."""
        refused: list[tuple[JobSpec, Occupant]] = []
        made: list[JobSpec] = []
        for job in jobs:
            other = destinations.take(item, job)
            if other is None:
                made.append(job)
            else:
                refused.append((job, other))
        if refused:
            self._held.update((job.job_key, "same_destination") for job, _ in refused)
            counts["same_destination"] += len(refused)
            self.refused.append(
                PlannedReject(
                    item.line,
                    "destination",
                    refusal(item, refused, self._batch),
                    item.shown[:500],
                )
            )
        return made

    def keep_originals(self, transaction: Transaction) -> None:
        """Cancel the jobs on earlier pages that would replace items of this page."""
        if not self.replacing:
            return
        found = transaction.rows(
            select(Job.id, Job.chunk_id)
            .join(Chunk, Chunk.id == Job.chunk_id)
            .where(
                Job.destination.in_(self.replacing),
                Job.state == JobState.PLANNED.value,
                Chunk.batch_id == self._batch,
            )
        )
        reason = "Not sent: its output would replace another item of the same batch."
        # Nobody else would hold the keys of quarantined jobs that these were to make again.
        lenders = lenders_of(transaction, [row.id for row in found])
        cancel_unsent(transaction, [(row.id, row.chunk_id) for row in found], reason)
        return_claims(transaction, lenders)

    def take_over(self, transaction: Transaction) -> None:
        """Release the old claims on jobs that `sort` returned: unsent ones, and ended ones."""
        if not self._unsent and not self._ended:
            return
        # Refused jobs keep their old claim.
        made = {key for key, why in self._held.items() if why == "duplicates"}
        unsent = [job for key, job in self._unsent.items() if key in made]
        if unsent:
            self.taken_over = [job for job, _ in unsent]
            cancel_unsent(transaction, unsent, f"Not sent: batch {self._batch} took it over.")
        ended = [job for key, job in self._ended.items() if key in made]
        for start in range(0, len(ended), _ROWS_PER_STATEMENT):
            transaction.execute(
                update(Job)
                .where(Job.id.in_(ended[start : start + _ROWS_PER_STATEMENT]))
                .values(claim=None)
            )
