"""Reasons of failures: alike whatever numbers, ids, names and addresses their messages have."""

import random

import pytest

from ittybatch.ittybit.reasons import fits, reason_of, words_of


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Could not fetch https://a.test/x/1.mp4?sig=1: HTTP 404", "Could not fetch …: HTTP 404"),
        ("Could not fetch s3://b/ä/2.mov: HTTP 503.", "Could not fetch …: HTTP 503."),
        ("No such key 'a/b c/film 1.mov' in bucket media-4711", "No such key … in bucket …"),
        ("reported no end within 3600 s. It may run", "reported no end within …. It may run"),
        ("Unsupported codec h264 in mp4", "Unsupported codec h264 in mp4"),
        ("Unsupported option 'crop'", "Unsupported option 'crop'"),
        ("moov atom not found in clip-0001.mp4", "moov atom not found in …"),
        ("worker i-0abc123def456 died after 12.5s\n(exit 137)", "worker … died after … (exit …)"),
        ("job 550e8400-e29b-41d4-a716-446655440000 preempted", "job … preempted"),
        ("/var/tmp/x1/y.bin is gone; 12,345,678 bytes", "… is gone; … bytes"),
        ("e.g. this. Or that", "e.g. this. Or that"),
        ("", ""),
    ],
)
def test_a_reason_has_what_failures_share(message: str, reason: str) -> None:
    """A status of HTTP and the name of a codec are a part of it."""
    assert reason_of("internal_error", message) == (reason or "internal_error")
    assert fits(reason or "internal_error", "internal_error", message)


def test_any_message_stands_for_its_reason() -> None:
    """Whoever copies a message need not know its reason."""
    assert fits("Could not fetch s3://a/1.mov", None, "Could not fetch s3://b/2.mov")
    assert not fits("Could not fetch s3://a/1.mov", None, "Could not read s3://b/2.mov")
    assert fits("timeout", "timeout", None)


def test_reasons_of_any_text_are_short_and_can_be_searched_for() -> None:
    """A database finds a message by words of its reason, in their order."""
    chance = random.Random(13)
    for _ in range(3000):
        size = chance.choice([5, 40, 900])
        message = "".join(chance.choice("ab1 2.,:/-'\"_…404503%s<>()é\n") for _ in range(size))
        reason = reason_of(None, message)
        assert len(reason) <= 300
        assert fits(reason, None, message)
        position = 0
        for word in words_of(reason):
            position = message.index(word, position) + len(word)
