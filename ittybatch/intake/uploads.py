"""Uploads: a browser puts a file straight into the bucket, and the file is processed.

Nothing is stored until a file has arrived and is what was announced: an upload that is abandoned
leaves no row in the ledger.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

import anyio

from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.orders import Orders
from ittybatch.intake.taken import Taken
from ittybatch.intake.upload_ids import Upload, UploadIds
from ittybatch.intake.upload_names import is_upload_key, upload_key
from ittybatch.intake.upload_parts import Parts, cut
from ittybatch.intake.upload_request import (
    Announced,
    check_file,
    check_parts,
    check_wanted,
    unprocessable,
    wanted_from,
)
from ittybatch.intake.upload_store import (
    PartsRefused,
    PostForm,
    Stored,
    StoreUnavailable,
    UploadGone,
    UploadStore,
)
from ittybatch.intake.upload_urls import Begun, sign
from ittybatch.intake.wanted import RequestRefused, Wanted
from ittybatch.ledger.actions import Asker
from ittybatch.ledger.intake import Order
from ittybatch.profiles import Item

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# An upload may take longer than its URLs are valid: a page asks for new ones.
_MIN_LIFE_S = 86_400
# Each call holds a thread and a connection for as long as the store takes.
_MAX_CALLS = 16


class TakesRequests(Protocol):
    """What uploads need of `Intake`."""

    async def take(self, wanted: Wanted, *, answer_within_s: float = ...) -> Taken:
        """Take a request; see `Intake.take`."""


class RecallsRequests(TakesRequests, Protocol):
    """What the page needs of `Intake`."""

    async def taken_before(self, wanted: Wanted) -> Taken | None:
        """Find a request that was taken; see `Intake.taken_before`."""


def life_s(declared: UploadsDeclared) -> int:
    """Seconds within which an upload has to be completed."""
    return max(_MIN_LIFE_S, int(declared.expires_s))


class Uploads:
    """Begins, completes and aborts uploads.

    Args:
        declared: The `uploads` section of `intake.yaml`.
        intake: Takes completed uploads.
        orders: Checks what is wanted before the file is sent.
        api_token: The API's token, from which the ids' key is derived.
    """

    def __init__(
        self, declared: UploadsDeclared, intake: TakesRequests, orders: Orders, api_token: str
    ) -> None:
        self._declared = declared
        self._intake = intake
        self._orders = orders
        self._ids = UploadIds(api_token)
        self._store = UploadStore(declared.bucket, versioned=declared.versioned)
        self._calls = anyio.CapacityLimiter(_MAX_CALLS)
        self._looking: asyncio.Task[str] | None = None
        self._completing: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    @property
    def life_s(self) -> int:
        """Seconds within which an upload has to be completed."""
        return life_s(self._declared)

    @property
    def form_life_s(self) -> int:
        """Seconds within which a file sent by `form` arrives: it may begin at the last moment."""
        return int(self._declared.expires_s) + self.life_s

    def order(self, announced: Announced, token: str | None = None) -> Order:
        """Check a file, and say which jobs its upload would make. Nothing is begun.

        Args:
            announced: The file.
            token: As for `begin`.

        Raises:
            RequestRefused: The file or what is wanted of it cannot be accepted.
        """
        _, uri = self._place(announced, token)
        wanted = check_wanted(announced, self._declared, uri, self._orders)
        return self._orders.order(wanted_from(wanted, Item(uri, size_bytes=announced.size_bytes)))

    def key(self, announced: Announced, token: str) -> str:
        """The key that an upload with this token has.

        Raises:
            RequestRefused: The file cannot be accepted.
        """
        return self._place(announced, token)[1].removeprefix(f"s3://{self._declared.bucket}/")

    def _place(self, announced: Announced, token: str | None) -> tuple[str, str]:
        """The content type of a file, and the URI of its object."""
        content_type = check_file(announced, self._declared)
        key = upload_key(self._declared.prefix, announced.filename, content_type, token)
        return content_type, f"s3://{self._declared.bucket}/{key}"

    async def begin(self, announced: Announced, token: str | None = None) -> Begun:
        """Begin an upload.

        Args:
            announced: The file.
            token: 32 hexadecimal digits that become part of the key. An upload that is begun
                again with the same ones writes the same object, so its jobs are made once.

        Raises:
            RequestRefused: The file or what is wanted of it cannot be accepted.
            StoreUnavailable: The bucket cannot be used.
        """
        content_type, uri = self._place(announced, token)
        key = uri.removeprefix(f"s3://{self._declared.bucket}/")
        wanted = check_wanted(announced, self._declared, uri, self._orders)
        parts = cut(announced.size_bytes)
        upload = Upload(
            bucket=self._declared.bucket,
            key=key,
            size_bytes=announced.size_bytes,
            content_type=content_type,
            part_bytes=parts.part_bytes,
            multipart_id=None,
            expires_at=int(datetime.now(UTC).timestamp()) + life_s(self._declared),
            wanted=wanted,
        )
        # Before the store hears of it: it may be too large for an id.
        self._ids.seal(upload)
        if parts.count > 1:
            multipart_id = await self._call(self._store.begin, upload.key, content_type)
            upload = replace(upload, multipart_id=multipart_id)
        return await self._signed(upload, self._ids.seal(upload), 0)

    async def more(self, upload_id: str, after: int) -> Begun:
        """Sign the URLs of further parts, or sign earlier ones again.

        Args:
            upload_id: The upload's id.
            after: Number of the part before the first one to sign; 0 for the first.

        Raises:
            RequestRefused: There is no such upload or part, or it has expired.
            StoreUnavailable: The bucket cannot be used.
        """
        return await self._signed(self._open(upload_id), upload_id, after)

    async def complete(
        self, upload_id: str, etags: Mapping[int, str | None] | None, asker: Asker | None = None
    ) -> Taken:
        """Complete an upload and process the file. A repeated call gives the same answer.

        Args:
            upload_id: The upload's id.
            etags: ETag of each part by its number, as the store answered it. Where one is None,
                or all are, the store is asked.
            asker: Who asks, to be recorded.

        Raises:
            RequestRefused: There is no such upload, a part is missing, or the file is not what
                was announced. Such a file is deleted.
            StoreUnavailable: The bucket cannot be used. Nothing was lost: repeat the call.
            LedgerUnavailable: Nothing was taken, or it is not known: repeat the call.
        """
        item = await self.store(upload_id, etags)
        upload = self._open(upload_id)
        # Object keys are random, so no other upload has it; no header may have a space in its key.
        key = f"upload {upload.uri}"
        return await self._intake.take(wanted_from(upload.wanted, item, key, asker))

    async def store(self, upload_id: str, etags: Mapping[int, str | None] | None) -> Item:
        """Complete an upload, and leave the file in the bucket. Nothing is made of it.

        Args:
            upload_id: As for `complete`.
            etags: As for `complete`.

        Returns:
            The file, as a scan of the bucket identifies it.

        Raises:
            RequestRefused: As for `complete`.
            StoreUnavailable: As for `complete`.
        """
        upload = self._open(upload_id)
        # A page that repeats its call must not compete with itself.
        async with self._completing.setdefault(upload.key, anyio.Lock()):
            stored = await self._call(self._store.head, upload.key)
            if stored is None:
                stored = await self._assemble(upload, etags)
            await self._check_stored(upload, stored)
        # As a scan of the bucket identifies it, so that it is never made twice.
        return Item(upload.uri, stored.fingerprint, stored.size_bytes, stored.modified_at)

    async def form(self, filename: str, content_type: str, token: str, redirect: str) -> PostForm:
        """Sign a form with which a browser without script may put one file into the bucket.

        Args:
            filename: The name of the object; the browser's own name for the file is not used.
            content_type: Type of the file.
            token: As for `begin`.
            redirect: Where the bucket sends the browser then, as an absolute URL.

        Raises:
            RequestRefused: Files of this type are not accepted.
            StoreUnavailable: There are no credentials to sign with.
        """
        content_type, uri = self._place(Announced(filename, content_type, size_bytes=1), token)
        return await self._call(
            self._store.sign_post,
            uri.removeprefix(f"s3://{self._declared.bucket}/"),
            content_type,
            self._declared.max_form_bytes,
            int(self._declared.expires_s),
            redirect,
        )

    async def arrived(self, key: str) -> Item:
        """Look at an object that a browser has put into the bucket with such a form.

        Args:
            key: Key of the object, below the declared prefix.

        Returns:
            The object, as a scan of the bucket identifies it.

        Raises:
            RequestRefused: It is not there, or its key is not one of an upload.
            StoreUnavailable: The bucket cannot be used.
        """
        stored = None
        if is_upload_key(self._declared.prefix, key):
            stored = await self._call(self._store.head, key)
        if stored is None:
            raise RequestRefused(
                HTTPStatus.NOT_FOUND,
                "file",
                "The file has not arrived in the bucket.",
                "Choose it and send it again. Nothing was made.",
            )
        uri = f"s3://{self._declared.bucket}/{key}"
        return Item(uri, stored.fingerprint, stored.size_bytes, stored.modified_at)

    async def origin(self) -> str:
        """The origin that browsers send files to: `https://bucket.s3.amazonaws.com`.

        Raises:
            StoreUnavailable: There are no credentials to sign with.
        """
        # One look for all who ask, who may stop waiting.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._call(self._store.origin))
            self._looking.add_done_callback(_take_error)
        return await asyncio.shield(self._looking)

    async def abort(self, upload_id: str) -> None:
        """Abort an upload of several parts: they are removed, and it can no longer be completed.

        An upload of one part leaves nothing to abort: until its URL expires, whoever has it can
        send the file, and whoever has the id can complete it then. Nothing is recorded, because
        nothing about uploads is, and S3 cannot withdraw a URL.

        Raises:
            RequestRefused: There is no such upload, or its file has arrived.
            StoreUnavailable: The bucket cannot be used.
        """
        upload = self._open(upload_id)
        if upload.multipart_id is not None:
            await self._call(self._store.abort, upload.key, upload.multipart_id)
        if await self._call(self._store.head, upload.key) is not None:
            raise RequestRefused(
                HTTPStatus.CONFLICT,
                "id",
                "The file has arrived completely, so it cannot be aborted. It was left as it is: "
                "it may be in use.",
                "Cancel its jobs with `ittybatch cancel`, or delete the object.",
            )

    def _open(self, upload_id: str) -> Upload:
        upload = self._ids.open(upload_id)
        if upload.bucket != self._declared.bucket:
            raise RequestRefused(
                HTTPStatus.GONE,
                "id",
                "The upload was begun for another bucket than the one declared now.",
                "Begin it again with POST /uploads.",
            )
        return upload

    async def _signed(self, upload: Upload, upload_id: str, after: int) -> Begun:
        return await self._call(
            sign, self._store, upload, upload_id, after, int(self._declared.expires_s)
        )

    async def _assemble(self, upload: Upload, etags: Mapping[int, str | None] | None) -> Stored:
        """Make the object out of its parts, unless another call has done so meanwhile."""
        if upload.multipart_id is None:
            raise RequestRefused(
                HTTPStatus.CONFLICT,
                "id",
                "The file has not arrived.",
                "PUT it to the URL of its only part, then complete the upload.",
            )
        try:
            known = await self._known(upload, upload.multipart_id, etags)
            await self._call(self._store.complete, upload.key, upload.multipart_id, known)
        except PartsRefused:
            raise unprocessable(
                "parts",
                "The bucket does not have these parts.",
                "Send each part again, take its ETag from the answer, and complete the upload. "
                "Or leave out `parts`: the bucket knows what has arrived.",
            ) from None
        except UploadGone:
            # By another receiver, perhaps; or by a call whose answer was lost.
            stored = await self._call(self._store.head, upload.key)
            if stored is not None:
                return stored
            raise RequestRefused(
                HTTPStatus.GONE, "id", "The upload was aborted.", "Begin it with POST /uploads."
            ) from None
        stored = await self._call(self._store.head, upload.key)
        if stored is None:
            raise StoreUnavailable(
                "The bucket does not show the file yet.", remedy="Complete the upload again."
            )
        return stored

    async def _known(
        self, upload: Upload, multipart_id: str, etags: Mapping[int, str | None] | None
    ) -> dict[int, str]:
        """Have the ETag of every part. S3 would make a shorter file if one was left out."""
        given = dict(etags or {})
        known = {number: etag for number, etag in given.items() if etag}
        if not given or len(known) < len(given):
            known = await self._call(self._store.parts, upload.key, multipart_id) | known
        check_parts(Parts(upload.size_bytes, upload.part_bytes).count, known)
        return known

    async def _check_stored(self, upload: Upload, stored: Stored) -> None:
        """Check that the file is the announced one. Not every store enforces signed headers."""
        if stored.size_bytes != upload.size_bytes:
            field_, is_, said = "size", f"{stored.size_bytes} bytes", f"{upload.size_bytes}"
        elif stored.content_type.partition(";")[0].strip() != upload.content_type:
            field_, is_, said = "content_type", stored.content_type[:100], upload.content_type
        else:
            return
        await self._call(self._store.delete, upload.key)
        raise unprocessable(
            field_,
            f"The file that arrived is not the announced one: {is_} instead of {said}. It was "
            "deleted, and nothing was made.",
            "Begin the upload again, and announce what is sent.",
        )

    async def _call(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._calls)


def _take_error(look: "asyncio.Task[str]") -> None:
    """Take the error of a look that nobody waits for any more; asyncio would log it."""
    if not look.cancelled():
        look.exception()
