"""Keeping credentials out of what people read."""

import time

import pytest

from ittybatch.ittybit.redaction import redacted


def test_a_hostile_text_is_masked_in_no_time() -> None:
    """Only its beginning is looked at and shown."""
    started = time.perf_counter()
    assert len(redacted("http://" * 1_000_000)) <= 8192
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
        ("the key ittybit_live_abc123 is paused", "the key [redacted] is paused"),
        ("sk_test_123 is wrong", "[redacted] is wrong"),
        ("https://b.s3.aws/k?X-Amz-Signature=1&b=2 gone", "https://b.s3.aws/k?[redacted] gone"),
        ("https://me:pass@host/k", "https://[redacted]@host/k"),
        ("my-own-secret here", "[redacted] here"),
        ("nothing to hide at https://a/b.mp4", "nothing to hide at https://a/b.mp4"),
    ],
)
def test_credentials_are_masked_and_the_rest_stays(text: str, clean: str) -> None:
    """Whoever reads it still learns what went wrong."""
    assert redacted(text, "my-own-secret", "") == clean
