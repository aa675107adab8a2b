"""The ids of uploads: each is a sealed record of its upload, so the ledger need not hold one."""

import base64
import hmac
import zlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken

from ittybatch.intake.wanted import RequestRefused

# An id is part of a URL; some proxies accept only 8 KiB of it.
MAX_ID = 6000
# No more of an id is unpacked: a small one could hold a huge record.
_MAX_RECORD = 65_536
_KEY_FOR = b"ittybatch: ids of uploads, 1"


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload, from its beginning to its end.

    Args:
        bucket: The bucket that receives it.
        key: Key of the object.
        size_bytes: The size that was announced.
        content_type: The type that was announced.
        part_bytes: Size of its parts.
        multipart_id: S3's id of the multipart upload; None if one request is enough.
        expires_at: Unix time after which it can no longer be completed.
        wanted: What to make of it: `profile`, `tasks`, `metadata` and `again`.
    """

    bucket: str
    key: str
    size_bytes: int
    content_type: str
    part_bytes: int
    multipart_id: str | None
    expires_at: int
    wanted: dict[str, Any]

    @property
    def uri(self) -> str:
        """The object's `s3://` URI."""
        return f"s3://{self.bucket}/{self.key}"


class UploadIds:
    """Seals uploads into ids, and opens ids.

    An id is encrypted and signed (Fernet: AES-128 and HMAC-SHA256). Whoever has one may finish or
    abort this upload and can do nothing else; what it says, such as metadata, stays unread.

    Args:
        api_token: The API's token. The key is derived from it, so another token makes every
            earlier id invalid.
    """

    def __init__(self, api_token: str) -> None:
        key = hmac.digest(api_token.encode(), _KEY_FOR, "sha256")
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, upload: Upload) -> str:
        """Make an upload's id.

        Raises:
            RequestRefused: The metadata or the options are too large for an id.
        """
        record = orjson.dumps(asdict(upload))
        sealed = self._fernet.encrypt(zlib.compress(record)).decode().rstrip("=")
        if len(record) > _MAX_RECORD or len(sealed) > MAX_ID:
            raise RequestRefused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "metadata",
                "The metadata and the options are too large for an upload, whose id has to hold "
                "them. Nothing was begun.",
                "Send about 3 kB at most: keep the rest in your own database, and send its id.",
            )
        return sealed

    def open(self, upload_id: str, now: datetime | None = None) -> Upload:
        """Read an id.

        Args:
            upload_id: The id, from a URL.
            now: The time; the current one if None.

        Raises:
            RequestRefused: It is not one of our ids, or it has expired.
        """
        padded = (upload_id[:MAX_ID] + "=" * (-len(upload_id) % 4)).encode(errors="replace")
        try:
            record = zlib.decompressobj().decompress(self._fernet.decrypt(padded), _MAX_RECORD)
        except InvalidToken:
            raise RequestRefused(
                HTTPStatus.NOT_FOUND,
                "id",
                "There is no upload with this id.",
                "Use the id exactly as POST /uploads answered it. If ITTYBATCH_API_TOKEN was "
                "changed since, begin the upload again.",
            ) from None
        upload = Upload(**orjson.loads(record))
        if upload.expires_at <= (now or _now()).timestamp():
            raise RequestRefused(
                HTTPStatus.GONE,
                "id",
                "The upload has expired.",
                "Begin it again with POST /uploads.",
            )
        return upload


def _now() -> datetime:
    return datetime.now(UTC)
