"""A key that was typed and a key that a Mac wrote look the same, and are two keys."""

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ittybatch.engine.lookalikes import describe_lookalikes
from ittybatch.ledger import Ledger
from ittybatch.ledger.settlement import settle
from tests.ledger import library

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TYPED = unicodedata.normalize("NFC", "Café.mov")
OF_A_MAC = unicodedata.normalize("NFD", "Café.mov")


@pytest.fixture
def media(s3: "S3Client") -> Iterator[None]:
    """A bucket `media` with what a Mac has uploaded."""
    s3.create_bucket(Bucket="media")
    s3.put_object(Bucket="media", Key=OF_A_MAC, Body=b"x")
    yield
    # Other tests list this bucket.
    s3.delete_object(Bucket="media", Key=OF_A_MAC)


def failed_over(ledger: Ledger, name: str) -> str:
    """A batch whose only job failed, because Ittybit did not find its input."""
    chunk, _ = library.submitted(ledger, library.job(name))
    failure = library.failed("task-0", "invalid_input", "could not fetch the input: 404")
    ledger.write(settle, [replace(failure, id="task-0")])
    return library.place(ledger, chunk).batch_id


@pytest.mark.usefixtures("media")
def test_an_object_of_the_same_look_is_named(ledger: Ledger) -> None:
    """With the form that it is written in: both look alike on every page."""
    [said] = describe_lookalikes(ledger, failed_over(ledger, TYPED))
    assert f"s3://media/{TYPED} does not exist" in said
    assert "(NFD)" in said
    assert "Write the manifest in that form" in said


@pytest.mark.usefixtures("media")
@pytest.mark.parametrize("name", [OF_A_MAC, "plain.mov", "nowhere/Café.mov"])
def test_nothing_is_said_of_other_failures(ledger: Ledger, name: str) -> None:
    """Neither of an object that exists, nor of one that exists in no form."""
    assert describe_lookalikes(ledger, failed_over(ledger, name)) == []


def test_a_store_that_cannot_be_asked_is_passed_over(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failures are shown all the same."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert describe_lookalikes(ledger, failed_over(ledger, TYPED)) == []
