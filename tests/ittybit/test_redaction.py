"""Keeping credentials out of what people read."""

import time

import pytest

from ittybatch.ittybit.redaction import (
    redacted,
    redacted_json,
    shown_source,
    shown_url,
    without_secrets,
)


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
        ("s3://AKIA123:s3/cr+et@bucket/a", "s3://[redacted]@bucket/a"),
        (
            "postgresql://h/db?sslmode=on&password=pw",
            "postgresql://h/db?sslmode=on&password=[redacted]",
        ),
        ("s3://bucket/a:b@c.mov", "s3://bucket/a:b@c.mov"),
        ("http://host:8080/a@b.mov", "http://host:8080/a@b.mov"),
        ("my-own-secret here", "[redacted] here"),
        ("nothing to hide at https://a/b.mp4", "nothing to hide at https://a/b.mp4"),
    ],
)
def test_credentials_are_masked_and_the_rest_stays(text: str, clean: str) -> None:
    """Whoever reads it still learns what went wrong."""
    assert redacted(text, "my-own-secret", "") == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("s3://AKIA123:s3/cr+et@bucket/a.csv", "s3://bucket/a.csv"),
        ("https://me:pw@h/a.csv?X-Amz-Signature=1,2", "https://h/a.csv?..."),
        ("postgresql://me:pw@h/db?password=s3cr3t&a=b", "postgresql://h/db?password=...&a=b"),
        ("sqlite:///a.db?cipher_secret=x", "sqlite:///a.db?cipher_secret=..."),
        (
            "'KEY:SECRET@b' in 's3://KEY:SECRET@b' is no name",
            "'KEY:SECRET@b' in 's3://b' is no name",
        ),
        ("https://h/a@2x.png", "https://h/a@2x.png"),
        ("s3://bucket/2026:01:02@night.mov", "s3://bucket/2026:01:02@night.mov"),
    ],
)
def test_addresses_are_shown_without_secrets(text: str, clean: str) -> None:
    """In messages, reports and the parameters of a source."""
    assert without_secrets(text) == clean
    assert shown_source({"uri": text, "more": [text], "n": 1}) == {
        "uri": clean,
        "more": [clean],
        "n": 1,
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/a.mov?v=3&start=1.5", "https://h/a.mov?v=3&start=1.5"),
        ("https://h/a.mov?auth=x&v=3", "https://h/a.mov?auth=...&v=3"),
        ("https://h/a.mov?apikey=x", "https://h/a.mov?apikey=..."),
        ("https://h/a.mov?accessToken=x", "https://h/a.mov?accessToken=..."),
        ("https://h/a.mov?sessionToken=x", "https://h/a.mov?sessionToken=..."),
        ("https://h/a.mov?jwt=a.b.c", "https://h/a.mov?jwt=..."),
        ("https://h/a.mov?hdnea=st=1~exp=2~acl=/*~hmac=ab", "https://h/a.mov?hdnea=..."),
        ("https://h/a.mov?X-Amz-Signature=1&w=2", "https://h/a.mov?X-Amz-Signature=...&w=2"),
        ("https://h/a.mov?%74oken=x&&download", "https://h/a.mov?%74oken=...&&download"),
        ("https://h/a.mov?eyJhbGciOi", "https://h/a.mov?..."),
        ("https://h/a.mov?t=" + "e" * 40, "https://h/a.mov?t=..."),
        ("https://h/a.mov?v=1;token=x", "https://h/a.mov?v=..."),
        ("HTTPS://me:pw@h/a.mov#access_token=x", "HTTPS://h/a.mov#access_token=..."),
        ("s3://bucket/what?.mov", "s3://bucket/what?.mov"),
    ],
)
def test_a_query_is_shown_as_far_as_it_is_harmless(url: str, shown: str) -> None:
    """A list of secret names would always lack one."""
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    "name", ["auth", "apikey", "api_key", "accessToken", "session-token", "jwt", "sig"]
)
def test_secret_parameters_of_other_addresses_are_masked(name: str) -> None:
    """Of queues, databases, and texts without a scheme."""
    assert without_secrets(f"wss://h/a?b=1&{name}=s3cr3t&c=2") == f"wss://h/a?b=1&{name}=...&c=2"
    assert "s3cr3t" not in redacted(f"it refused {name}=s3cr3t")
    assert without_secrets("monkey=1&token_count=2 key=a") == "monkey=1&token_count=2 key=a"


def test_secrets_in_json_are_masked_by_their_name_or_their_form() -> None:
    """A webhook may echo what somebody put into the metadata of a job."""
    found = redacted_json(
        {
            "webhook_secret": "s",
            "apiKey": "k",
            "headers": [{"Authorization": "Basic abc"}, "Bearer abc.def"],
            "output": {"url": "https://b.s3.aws/k?X-Amz-Signature=1", "token_count": 3},
            "monkey": "my-own-secret",
            "signature": None,
        },
        "my-own-secret",
    )
    assert found == {
        "webhook_secret": "[redacted]",
        "apiKey": "[redacted]",
        "headers": [{"Authorization": "[redacted]"}, "Bearer [redacted]"],
        "output": {"url": "https://b.s3.aws/k?[redacted]", "token_count": 3},
        "monkey": "[redacted]",
        "signature": None,
    }


def test_hostile_json_is_cut() -> None:
    """It may be as deep, and as long, as a webhook can be."""
    deep: object = "end"
    for _ in range(500):
        deep = [deep]
    assert "[left out]" in str(redacted_json(deep))
    assert len(redacted_json(["x"] * 1_000_000)) < 50_000
