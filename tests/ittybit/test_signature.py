"""Signing and verifying webhooks."""

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.signature import sign, verify

BODY = b'{"id": "task_1",  "status":"succeeded"}'
SECRET = b"whsec_0123456789"
OTHER = b"whsec_9876543210"


def test_a_signature_is_the_hmac_of_the_raw_body() -> None:
    """Lowercase hex, as PHP's `hash_hmac` and Python's `hexdigest` give it."""
    assert sign(BODY, SECRET) == hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()
    assert verify(BODY, sign(BODY, SECRET), [SECRET])


def test_another_body_or_secret_does_not_verify() -> None:
    """Even where the body means the same."""
    assert not verify(BODY.replace(b"  ", b" "), sign(BODY, SECRET), [SECRET])
    assert not verify(BODY, sign(BODY, OTHER), [SECRET])


def test_any_secret_in_force_will_do() -> None:
    """While one secret replaces another, deliveries come signed with either."""
    for secret in (SECRET, OTHER):
        assert verify(BODY, sign(BODY, secret), [SECRET, OTHER])


@pytest.mark.parametrize("dress", ["{}", "sha256={}", " {} ", "SHA256={}"])
@pytest.mark.parametrize("upper", [False, True])
def test_prefix_and_case_do_not_matter(dress: str, *, upper: bool) -> None:
    """Some signers write `sha256=` and upper case."""
    signature = sign(BODY, SECRET)
    header = dress.format(signature.upper() if upper else signature)
    assert verify(BODY, header, [SECRET])


@pytest.mark.parametrize(
    "header",
    [None, "", " ", "sha256=", "é" * 64, "\ud800" * 64, "0" * 63, "0" * 64, "0" * 65, "x" * 10**6,
     "sha256=" * 9 + "0" * 64],
)  # fmt: skip
def test_odd_headers_do_not_verify(header: str | None) -> None:
    """They are wrong, and never an error."""
    assert verify(BODY, header, [SECRET]) is False


def test_no_secret_means_nothing_verifies() -> None:
    """An empty secret is none: anybody could sign with it."""
    forged = hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    assert not verify(BODY, forged, [])
    assert not verify(BODY, forged, [b""])
    with pytest.raises(ConfigurationError, match="ITTYBIT_WEBHOOK_SECRET"):
        sign(BODY, b"")


@settings(deadline=None)
@given(st.binary(max_size=64), st.none() | st.text(max_size=80), st.lists(st.binary(max_size=80)))
def test_nothing_but_a_signature_verifies(
    body: bytes, header: str | None, secrets: list[bytes]
) -> None:
    """No header that was not made with a secret is ever accepted, nor raises."""
    assert verify(body, header, secrets) is False


@settings(deadline=None)
@given(st.binary(), st.binary(min_size=1))
def test_every_signature_verifies(body: bytes, secret: bytes) -> None:
    """Of any body, with any secret."""
    assert verify(body, sign(body, secret), [b"other", secret])
