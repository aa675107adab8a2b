"""The client for Ittybit's API: jobs, and the project's webhook endpoints."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import uuid4

import orjson

from ittybatch.ittybit.answer import Answer
from ittybatch.ittybit.endpoints import (
    EVENTS,
    UnreadableEndpoint,
    WebhookEndpoint,
    read_endpoint,
    read_endpoints,
)
from ittybatch.ittybit.errors import InvalidRequest, NotFound
from ittybatch.ittybit.http_client import HttpClient
from ittybatch.ittybit.job import Job, UnreadableJob, read_job
from ittybatch.ittybit.paging import Pages
from ittybatch.ittybit.retrying import MayRepeat, RetryHook, RetryPolicy

DEFAULT_URL = "https://api.ittybit.com"
_MAX_PAGE_SIZE = 100
# The longest form that every generation of the API takes; a dashed UUID is too long.
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{16,32}")
_JOB_ID = re.compile(r"(?!\.{1,2}$).{1,255}", re.DOTALL)


class IttybitClient:
    """A connection to Ittybit, open inside `async with`; many tasks may share it.

    Args:
        api_key: Key of the Ittybit project; never shown.
        base_url: The API's address; https, or http on a loopback address.
        timeout_s: Seconds for each try of a request, up to the last byte of its answer.
        max_connections: Requests that run at once; further requests wait.
        attempts: Tries per request. 408, 429, 5xx, broken connections, timeouts and unreadable
            answers are retried, always under the same Idempotency-Key.
        retry_wait_initial_s: Seconds before the second try; doubled for each further one.
        retry_wait_cap_s: The longest wait between two tries, even if `Retry-After` asks for more;
            the error carries the full value in `retry_after_s`.
        on_retry: Called before each wait, with the error and the wait in seconds.

    Raises:
        ConfigurationError: The key or the address is unusable.
    """

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = DEFAULT_URL,
        timeout_s: float = 30,
        max_connections: int = 64,
        attempts: int = 5,
        retry_wait_initial_s: float = 0.5,
        retry_wait_cap_s: float = 60,
        on_retry: RetryHook | None = None,
    ) -> None:
        self._http = HttpClient(
            api_key,
            base_url=base_url,
            timeout_s=timeout_s,
            max_connections=max_connections,
        )
        self._policy = RetryPolicy(attempts, retry_wait_initial_s, retry_wait_cap_s, on_retry)

    def __repr__(self) -> str:
        return f"<IttybitClient for {self._http.base_url}>"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(exc_type, exc, traceback)

    async def create_job(
        self,
        *,
        input: str,  # noqa: A002 - Ittybit's name for it
        kind: str,
        options: Mapping[str, Any],
        metadata: Mapping[str, Any],
        output: str | None = None,
        webhook_url: str | None = None,
        connection_id: str | None = None,
        idempotency_key: str,
        may_repeat: MayRepeat | None = None,
    ) -> Job:
        """Submit a job: `POST /jobs`.

        Args:
            input: An `https://`, `http://` or `s3://` address.
            kind: video, audio, image, animation or adaptive_video.
            options: As `canonical_options` gives them.
            metadata: Returned in answers and webhooks.
            output: An `s3://` address, or None for Ittybit's own storage.
            webhook_url: Where Ittybit sends a webhook when the job ends.
            connection_id: The connection to the bucket; one in the options takes precedence.
            idempotency_key: 16 to 32 visible ASCII characters, stored before it is sent. For
                24 hours Ittybit answers the same key and body with the same job.
            may_repeat: Asked after the wait before each retry; if not, the last error is raised.

        Returns:
            The accepted job, whether this request created it or an earlier one did.

        Raises:
            IttybitError: `classify_refusal` says what each one means.
        """
        if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise InvalidRequest(
                "The Idempotency-Key must be 16 to 32 visible ASCII characters.",
                remedy="Use the first 32 hex characters of a hash.",
            )
        body: dict[str, Any] = {"input": input, "kind": kind, "metadata": metadata}
        if connection_id:
            options = {"connection_id": connection_id, **options}
        body["options"] = options
        if output:
            body["output"] = output
        if webhook_url:
            body["webhook_url"] = webhook_url
        content = _json(body, f"job for {input[:200]}")
        return await self._policy.call(partial(self._created, content, idempotency_key), may_repeat)

    async def get_job(self, id: str) -> Job:  # noqa: A002 - Ittybit's name for it
        """Look up a job: `GET /jobs/{id}`.

        Raises:
            NotFound: Ittybit has no job with this id.
            IttybitError: For any other failure.
        """
        if not _JOB_ID.fullmatch(id):
            raise InvalidRequest("The id of a job must have 1 to 255 characters.")
        path = f"/jobs/{quote(id, safe='')}"

        async def look_up() -> Job:
            return _job(await self._http.get(path))

        return await self._policy.call(look_up)

    async def list_jobs(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        input: str | None = None,  # noqa: A002 - Ittybit's name for it
        after: str | None = None,
        order: Literal["asc", "desc"] = "desc",
        page_size: int = _MAX_PAGE_SIZE,
    ) -> AsyncGenerator[Job]:
        """List jobs by creation time: `GET /jobs`. Pages are requested as the caller iterates.

        Args:
            kind: Only jobs of this kind.
            status: Only jobs with this status: queued, processing, succeeded, failed,
                cancelled.
            input: Only jobs of exactly this address.
            after: The id of a job; only jobs that follow it in `order`.
            order: `desc` for the newest first.
            page_size: Jobs per request, 1 to 100.

        Raises:
            IttybitError: A page could not be read.
        """
        if not 1 <= page_size <= _MAX_PAGE_SIZE:
            raise InvalidRequest(f"A page of jobs must have 1 to {_MAX_PAGE_SIZE} jobs.")
        query = {"limit": str(page_size), "order": order}
        filters = {"kind": kind, "status": status, "input": input}
        query.update({name: value for name, value in filters.items() if value is not None})
        pages = Pages(page_size, after)
        while not pages.ended:
            cursor = {"after": pages.cursor} if pages.cursor else {}
            answer = await self._policy.call(partial(self._listed, query | cursor))
            for job in pages.take(answer):
                yield job

    async def create_webhook(self, url: str, events: Sequence[str] = EVENTS) -> WebhookEndpoint:
        """Register an endpoint for the whole project: `POST /webhooks`.

        Args:
            url: The https address that Ittybit calls.
            events: The events it calls it for.

        Raises:
            NotFound: This version of the API has no such route.
            IttybitError: For any other failure.
        """
        content = _json({"url": url, "events": list(events)}, "webhook endpoint")
        # A new key each time: an endpoint that was removed can be registered again.
        key = uuid4().hex

        async def create() -> WebhookEndpoint:
            return _endpoint(await self._http.post("/webhooks", content, key))

        return await self._policy.call(create)

    async def list_webhooks(self) -> list[WebhookEndpoint]:
        """List the project's registered endpoints: `GET /webhooks`.

        Raises:
            NotFound: This version of the API has no such route.
            IttybitError: For any other failure.
        """
        found: dict[str, WebhookEndpoint] = {}
        query = {"limit": str(_MAX_PAGE_SIZE)}
        more = True
        while more:
            answer = await self._policy.call(partial(self._http.get, "/webhooks", query))
            page = _endpoints(answer)
            # A server that ignores cursors sends the same page for ever.
            fresh = [each for each in page if each.id not in found]
            found |= {each.id: each for each in fresh}
            more = bool(fresh) and answer.headers.get("has-more", "").strip().lower() == "true"
            query |= {"after": page[-1].id} if page else {}
        return list(found.values())

    async def delete_webhook(self, id: str) -> None:  # noqa: A002 - Ittybit's name for it
        """Delete a registered endpoint, if it is there: `DELETE /webhooks/{id}`.

        Raises:
            IttybitError: Ittybit refused or did not answer.
        """
        if not _JOB_ID.fullmatch(id):
            raise InvalidRequest("The id of a webhook endpoint must have 1 to 255 characters.")
        path = f"/webhooks/{quote(id, safe='')}"
        # An earlier try without an answer, also one of the transport's own, may have deleted it.
        with suppress(NotFound):
            await self._policy.call(partial(self._http.delete, path))

    async def _created(self, content: bytes, idempotency_key: str) -> Job:
        return _job(await self._http.post("/jobs", content, idempotency_key))

    async def _listed(self, query: dict[str, str]) -> Answer:
        return await self._http.get("/jobs", query)


def _job(answer: Answer) -> Job:
    try:
        return read_job(answer.payload())
    except UnreadableJob:
        raise answer.unreadable("its body contains no job with an id") from None


def _endpoint(answer: Answer) -> WebhookEndpoint:
    try:
        return read_endpoint(answer.payload())
    except UnreadableEndpoint:
        raise answer.unreadable("its body contains no webhook endpoint") from None


def _endpoints(answer: Answer) -> list[WebhookEndpoint]:
    try:
        return read_endpoints(answer.payload())
    except UnreadableEndpoint:
        raise answer.unreadable("its body contains no list of webhook endpoints") from None


def _json(value: Mapping[str, Any], what: str) -> bytes:
    """The body of a request; sorted, because an Idempotency-Key stands for exactly these bytes."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidRequest(
            f"The {what} cannot be written as JSON: {error}.",
            remedy="Use text, numbers up to 64 bits, lists and objects with text as keys.",
        ) from None
