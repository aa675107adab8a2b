"""The URLs to which a browser sends the parts of its file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ittybatch.intake.upload_ids import Upload
from ittybatch.intake.upload_parts import Part, Parts
from ittybatch.intake.upload_request import unprocessable
from ittybatch.intake.upload_store import UploadStore

# A URL has about 500 characters, and up to 2,000 with temporary credentials.
URLS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class SignedPart:
    """A part of a file, and the URL that it may be sent to by PUT."""

    part: Part
    url: str


@dataclass(frozen=True, slots=True)
class Begun:
    """An upload that a browser can go on with.

    Args:
        id: Its id, which authorises everything else about it.
        upload: What the id says.
        part_count: How many parts the file has.
        parts: Some of them, in order, with their URLs.
        headers: Headers that each PUT has to send.
    """

    id: str
    upload: Upload
    part_count: int
    parts: Sequence[SignedPart]
    headers: Mapping[str, str]

    @property
    def last_number(self) -> int:
        """Number of the last part with a URL; 0 if there is none."""
        return self.parts[-1].part.number if self.parts else 0


def describe(begun: Begun, here: str) -> dict[str, Any]:
    """Describe an upload for the browser that sends it, as JSON.

    Args:
        begun: The upload.
        here: Its URL; the URLs to complete it and to abort it begin with that.
    """
    upload = begun.upload
    is_last = begun.last_number in {0, begun.part_count}
    return {
        "id": begun.id,
        "uri": upload.uri,
        "multipart": upload.multipart_id is not None,
        "headers": dict(begun.headers),
        "part_size": upload.part_bytes,
        "part_count": begun.part_count,
        "parts": [
            {
                "number": each.part.number,
                "offset": each.part.offset,
                "size": each.part.size_bytes,
                "url": each.url,
            }
            for each in begun.parts
        ],
        "more_url": None if is_last else f"{here}/parts?after={begun.last_number}",
        "complete_url": f"{here}/complete",
        "abort_url": here,
        "expires_at": datetime.fromtimestamp(upload.expires_at, UTC).isoformat(),
    }


def sign(store: UploadStore, upload: Upload, upload_id: str, after: int, valid_s: int) -> Begun:
    """Sign the URLs of the next parts of an upload. Blocks for about a millisecond for each.

    Args:
        store: The bucket.
        upload: The upload.
        upload_id: Its id.
        after: Number of the part before them; 0 for the first.
        valid_s: Seconds for which a URL is valid, but never longer than the id.

    Raises:
        RequestRefused: The file does not have so many parts.
        StoreUnavailable: There are no credentials to sign with.
    """
    parts = Parts(upload.size_bytes, upload.part_bytes)
    if not 0 <= after <= parts.count:
        raise unprocessable(
            "after", f"There is no part {after}.", f"The parts are 1 to {parts.count}."
        )
    some = parts.after(after, URLS_AT_ONCE)
    left_s = upload.expires_at - int(datetime.now(UTC).timestamp())
    expires_s = max(1, min(valid_s, left_s))
    urls: list[str] = []
    headers: dict[str, str] = {}
    if upload.multipart_id is not None:
        sizes = {part.number: part.size_bytes for part in some}
        urls = store.sign_parts(upload.key, upload.multipart_id, sizes, expires_s)
    else:
        headers = {"Content-Type": upload.content_type}
        if some:
            urls = [store.sign_put(upload.key, upload.content_type, upload.size_bytes, expires_s)]
    signed = [SignedPart(part, url) for part, url in zip(some, urls, strict=True)]
    return Begun(upload_id, upload, parts.count, signed, headers)
