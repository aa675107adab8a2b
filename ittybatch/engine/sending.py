"""Send one submission to Ittybit, unless Ittybit already has its job."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from ittybatch.engine.lookup import MadeElsewhere, MarkedJob, find_all, find_own, made_elsewhere
from ittybatch.ittybit.client import IttybitClient
from ittybatch.ittybit.errors import InvalidRequest, IttybitError, KeyConflict
from ittybatch.ittybit.failures import Refusal, classify_refusal
from ittybatch.ittybit.marks import Mark, marked_metadata
from ittybatch.ittybit.retrying import MayRepeat
from ittybatch.ledger import Ledger
from ittybatch.ledger.adoption import sample_unsent
from ittybatch.ledger.submission import Submission
from ittybatch.profiles import Item
from ittybatch.profiles.item import S3_SCHEME

# Ittybit replays the first response to a key for 24 hours. After that, the same key creates and
# bills another job.
KEY_WINDOW = timedelta(hours=23)
# A request may still reach Ittybit for this long after its sender has died.
_ON_ITS_WAY = timedelta(seconds=60)
# Before a leg sends the first jobs of its chunk, or those that are left, it looks up this many,
# spread over the chunk.
_SAMPLE = 5


class Sending:
    """Sends submissions, and finds those that were sent before.

    Args:
        ledger: Knows which jobs at Ittybit are its own.
        client: Client of Ittybit's API.
        webhook_url: URL to which Ittybit reports the end of a job; None to only poll.
        connection_id: Ittybit's storage connection for buckets, if any.
    """

    def __init__(
        self,
        ledger: Ledger,
        client: IttybitClient,
        *,
        webhook_url: str | None,
        connection_id: str | None,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._webhook_url = webhook_url
        self._connection_id = connection_id

    async def task_of(
        self,
        submission: Submission,
        *,
        sent_before: bool,
        may_repeat: MayRepeat | None = None,
    ) -> str:
        """Send a submission, or find its job if it may have been accepted before.

        Args:
            submission: The submission to send.
            sent_before: Whether an earlier leg may have sent it.
            may_repeat: Asked before the request is sent again.

        Returns:
            Ittybit's id of the job.

        Raises:
            MadeElsewhere: Another ledger's submission of the same job has used its key.
            IttybitError: Ittybit refused it, or its outcome is unknown.
        """
        if datetime.now(UTC) - submission.first_sent_at >= KEY_WINDOW:
            found = await self.found_again(submission)
            if found is not None:
                return found
        try:
            return await self._create(submission, may_repeat)
        except InvalidRequest as error:
            if not (sent_before or error.outcome_unknown):
                raise
            # Ittybit refused this request. It may have accepted an earlier one, before a setting
            # changed the body. Then a job exists and is billed.
            found = await self.found_again(submission)
            if found is not None:
                return found
            if isinstance(error, KeyConflict):
                await self._refuse_duplicate(submission)
            elif sent_before and is_on_its_way(submission):
                error.earlier_try_unknown = True
            raise

    async def found_again(self, submission: Submission) -> str | None:
        """Find a submission's job by input, kind and metadata; return its id."""
        mark = mark_of(submission)
        try:
            found = await find_own(self._client, mark, submission.kind, submission.input)
        except IttybitError as error:
            # The lookup failed. The outcome of the submission is still unknown.
            error.earlier_try_unknown = True
            raise
        return found.id if found else None

    async def sampled_elsewhere(self, chunk: int) -> MarkedJob | None:
        """Check whether another ledger submitted a sample of a chunk's unsent jobs.

        A key conflict would reveal that only for a day. Then Ittybit forgets the keys, and all jobs
        would be billed again.

        Raises:
            IttybitError: A lookup failed, and no other found such a job: nothing may be sent yet.
        """
        sample = self._ledger.read(sample_unsent, chunk, _SAMPLE)
        looks = (find_all(self._client, uri) for uri in dict.fromkeys(job.input for job in sample))
        answers = await asyncio.gather(*looks, return_exceptions=True)
        found = [job for each in answers if not isinstance(each, BaseException) for job in each]
        for job in sample:
            other = made_elsewhere(self._ledger, found, job.job_key)
            if other is not None and other.billed:
                return other
        for error in answers:
            # An input that Ittybit refuses to look for says nothing about the others.
            if isinstance(error, BaseException) and not _is_refused(error):
                raise error
        return None

    async def _refuse_duplicate(self, submission: Submission) -> None:
        try:
            found = await find_all(self._client, submission.input)
        except IttybitError as error:
            error.earlier_try_unknown = True
            raise
        other = made_elsewhere(self._ledger, found, submission.job_key)
        if other is not None:
            raise MadeElsewhere(submission.batch_id, other)

    async def _create(self, submission: Submission, may_repeat: MayRepeat | None) -> str:
        job = await self._client.create_job(
            input=submission.input,
            kind=submission.kind,
            options=submission.options,
            output=submission.destination,
            metadata=metadata_of(submission),
            webhook_url=self._webhook_url,
            connection_id=self._connection_of(submission),
            idempotency_key=submission.idempotency_key,
            may_repeat=may_repeat,
        )
        return job.id

    def _connection_of(self, submission: Submission) -> str | None:
        """Return the storage connection if Ittybit needs access to a bucket."""
        places = (submission.input, submission.destination or "")
        in_bucket = any(place.startswith(S3_SCHEME) for place in places)
        return self._connection_id if in_bucket else None


def _is_refused(error: BaseException) -> bool:
    return isinstance(error, IttybitError) and classify_refusal(error) is Refusal.FAIL


def is_on_its_way(submission: Submission, cancelled_at: datetime | None = None) -> bool:
    """Whether a request from a dead process may still be on its way to Ittybit.

    Args:
        submission: The submission that may have been sent.
        cancelled_at: When its batch was cancelled; it may have been sent until then.
    """
    latest = max(submission.first_sent_at, cancelled_at or submission.first_sent_at)
    return datetime.now(UTC) - latest < _ON_ITS_WAY


def metadata_of(submission: Submission) -> dict[str, Any]:
    """Build the metadata that Ittybit echoes: the user's pairs, and ours that identify the job."""
    source = Item(submission.input)
    return marked_metadata(
        submission.metadata,
        mark_of(submission),
        item=submission.item_number,
        rendition=submission.rendition,
        bucket=source.bucket,
        key=source.key,
    )


def mark_of(submission: Submission) -> Mark:
    """Build the mark that identifies a submission in its job's metadata."""
    return Mark(submission.batch_id, submission.job_key, submission.attempt)
