"""The address of the receiver in its answers, and the host that URLs are signed for."""

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.upload_store import UploadStore
from ittybatch.sources.s3 import aws_client
from tests.intake.uploads.serving import TOKEN, Api, serving

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def complete_url(api: Api, **headers: str) -> str:
    body = {"filename": "clip.mov", "size": 5}
    answer = api.call("POST", f"{api.url}/uploads", body, token=TOKEN, **headers)
    return str(answer.json()["complete_url"])


def test_the_caller_s_address_is_used(api: Api) -> None:
    """It has reached us there."""
    assert complete_url(api).startswith(f"{api.url}/uploads/")
    assert complete_url(api, Host="media.example.com").startswith("http://media.example.com/")


def test_behind_tls_the_webhook_url_tells_the_scheme(declared: UploadsDeclared) -> None:
    """A proxy hides it, and a page of HTTPS may not call HTTP."""
    url = "https://media.example.com/webhooks/ittybit"
    with serving(declared, webhook_url=url) as api:
        assert complete_url(api, Host="media.example.com").startswith("https://media.example.com/")
        assert complete_url(api, Host="other.example.com").startswith("http://other.example.com/")


def test_a_declared_address_wins(bucket: str) -> None:
    """The backend may reach the receiver by a private one."""
    declared = UploadsDeclared(bucket=bucket, profile="web", public_url="https://m.example.com/")
    with serving(declared) as api:
        assert complete_url(api).startswith("https://m.example.com/uploads/")


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "my-media.s3.amazonaws.com"),
        ("eu-west-1", "my-media.s3.eu-west-1.amazonaws.com"),
    ],
)
def test_urls_are_signed_for_the_host_of_the_region(
    s3: "S3Client", monkeypatch: pytest.MonkeyPatch, region: str, host: str
) -> None:
    """AWS redirects others, and no browser follows a redirect of a preflight."""
    del s3
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_REGION", region)
    store = UploadStore("my-media")
    # Nothing on this machine answers for AWS, so nobody can be asked for the bucket's region.
    monkeypatch.setattr(
        "ittybatch.intake.upload_store.client_in_region_of",
        lambda _uri, *, config, ask: ask(lambda: aws_client("s3", config=config)),
    )
    url = urlsplit(store.sign_put("uploads/a b.mov", "video/mp4", 5, 60))
    assert (url.hostname, url.path) == (host, "/uploads/a%20b.mov")
    query = parse_qs(url.query)
    assert region in query["X-Amz-Credential"][0]
    # A checksum that a browser does not send would make every PUT fail.
    assert not [name for name in query if "checksum" in name.lower()]
