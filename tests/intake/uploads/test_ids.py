"""The ids of uploads, which authorise finishing one and nothing else."""

import base64
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ittybatch.intake.upload_ids import MAX_ID, Upload, UploadIds
from ittybatch.intake.wanted import RequestRefused

TOKEN = "an-api-token-of-the-test"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
WANTED: dict[str, Any] = {
    "profile": "web",
    "tasks": [],
    "metadata": {"media_id": 7},
    "again": False,
}
UPLOAD = Upload(
    bucket="media",
    key="uploads/x-clip.mov",
    size_bytes=5,
    content_type="video/quicktime",
    part_bytes=5,
    multipart_id=None,
    expires_at=int((NOW + timedelta(hours=1)).timestamp()),
    wanted=WANTED,
)


def refusal(upload_id: str, token: str = TOKEN, now: datetime = NOW) -> RequestRefused:
    with pytest.raises(RequestRefused) as error:
        UploadIds(token).open(upload_id, now)
    assert error.value.remedy
    return error.value


def test_an_id_holds_the_whole_upload() -> None:
    """So another receiver, with the same token, can go on with it."""
    assert UploadIds(TOKEN).open(UploadIds(TOKEN).seal(UPLOAD), NOW) == UPLOAD


def test_an_id_is_a_segment_of_a_path() -> None:
    """Nothing of it has to be escaped."""
    sealed = UploadIds(TOKEN).seal(UPLOAD)
    assert set(sealed) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def test_an_id_says_nothing_to_the_browser() -> None:
    """Neither metadata nor the token."""
    sealed = UploadIds(TOKEN).seal(UPLOAD)
    raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
    for secret in (b"media_id", b"uploads/", TOKEN.encode()):
        assert secret not in raw


def test_every_changed_character_is_noticed() -> None:
    """Wherever it is."""
    sealed = UploadIds(TOKEN).seal(UPLOAD)
    for place in range(0, len(sealed) - 1, 7):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        assert refusal(changed).status == 404


@pytest.mark.parametrize(
    "given", ["", "x", "é" * 50, "A" * 100, "A" * 100_000, "..", "%00", "\x00", "=" * 9]
)
def test_what_is_no_id_is_refused(given: str) -> None:
    """Without a hint about what an id consists of."""
    assert refusal(given).field == "id"
    assert refusal(given).status == 404


def test_an_id_of_another_token_is_refused() -> None:
    """A changed token ends what it has authorised."""
    assert refusal(UploadIds("another-token-of-16").seal(UPLOAD)).status == 404


def test_an_id_expires() -> None:
    """To the second."""
    sealed = UploadIds(TOKEN).seal(UPLOAD)
    UploadIds(TOKEN).open(sealed, NOW + timedelta(seconds=3599))
    assert refusal(sealed, now=NOW + timedelta(hours=1)).status == 410


def test_metadata_that_would_make_too_long_a_url_is_refused() -> None:
    """Random, so that it cannot be compressed."""
    fits = replace(UPLOAD, wanted={**WANTED, "metadata": {"a": secrets.token_urlsafe(3000)}})
    assert len(UploadIds(TOKEN).seal(fits)) <= MAX_ID
    large = replace(UPLOAD, wanted={**WANTED, "metadata": {"a": secrets.token_urlsafe(6000)}})
    with pytest.raises(RequestRefused) as error:
        UploadIds(TOKEN).seal(large)
    assert (error.value.status, error.value.field) == (422, "metadata")


def test_what_an_id_could_not_be_opened_with_is_refused_before_the_upload_begins() -> None:
    """Compressed it is short, but it is opened up to a size only."""
    large = {"x" * 70_000: None}
    wanted = {**WANTED, "tasks": [["video", large]]}
    with pytest.raises(RequestRefused) as error:
        UploadIds(TOKEN).seal(replace(UPLOAD, wanted=wanted))
    assert error.value.status == 422
    nearly = replace(UPLOAD, wanted={**WANTED, "tasks": [["video", {"x" * 60_000: None}]]})
    assert UploadIds(TOKEN).open(UploadIds(TOKEN).seal(nearly), NOW) == nearly
