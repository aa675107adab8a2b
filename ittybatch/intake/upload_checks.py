"""Checks whether browsers can upload to the declared bucket."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from ittybatch.engine.bucket_checks import why_not_listed
from ittybatch.engine.finding import Finding, Grade
from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.upload_rules import (
    Rules,
    aborts_incomplete,
    command,
    cors_with,
    lifecycle_with,
    problem_of_origin,
)
from ittybatch.intake.upload_store import UploadStore
from ittybatch.intake.uploads import life_s
from ittybatch.sources.page import SourceError
from ittybatch.sources.s3 import can_sign, client_in_region_of, failure, is_at_aws

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BUCKET = "Uploads"
_CORS = "Uploads (CORS)"
_LIFECYCLE = "Uploads (abandoned)"
_NO_RULES = frozenset({"NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration"})
_PREFLIGHT_WITHIN_S = 10.0


def check_uploads(declared: UploadsDeclared) -> Iterator[Finding]:
    """Check the bucket of uploads: credentials, CORS, and the rule for abandoned uploads."""
    uri = f"s3://{declared.bucket}/"
    try:
        client = client_in_region_of(uri, ask=lambda call: call())
    except SourceError as error:
        yield Finding(_BUCKET, Grade.BROKEN, error.message, error.remedy or "")
        return
    if not can_sign(client):
        yield Finding(
            _BUCKET,
            Grade.BROKEN,
            "There are no AWS credentials, so no URL can be signed.",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        )
        return
    # Without this permission S3 answers 403 about a file that has not arrived.
    if (why := why_not_listed(f"{uri}{declared.prefix}")) is not None:
        yield Finding(_BUCKET, Grade.BROKEN, why.message, why.remedy or "")
        return
    yield Finding(
        _BUCKET, Grade.OK, f"Files up to {declared.max_bytes} bytes go to {uri}{declared.prefix}."
    )
    yield _check_cors(client, declared)
    yield _check_lifecycle(client, declared)


def _check_cors(client: "S3Client", declared: UploadsDeclared) -> Finding:
    origins = declared.allowed_origins
    if not origins:
        return Finding(
            _CORS,
            Grade.WARNING,
            "No web page may upload: `allowed_origins` is empty.",
            "Add `allowed_origins: [https://app.example.com]`, with the origins of your pages, to "
            "`uploads` in intake.yaml. Programs other than browsers need none.",
        )
    rules, unread = _rules(lambda: client.get_bucket_cors(Bucket=declared.bucket)["CORSRules"])
    problems = {
        origin: problem
        for origin in origins
        if (
            problem := problem_of_origin(rules, origin)
            if rules
            # Some stores allow every page, without rules of the bucket's own.
            else _preflight_problem(declared, origin)
        )
    }
    if not problems:
        return Finding(_CORS, Grade.OK, f"Pages of {', '.join(origins)} can upload.")
    shown = "; ".join(f"{origin}: {problem}" for origin, problem in problems.items())
    only_etag = all("ETag" in problem for problem in problems.values())
    return Finding(
        _CORS,
        Grade.WARNING if only_etag else Grade.BROKEN,
        f"Not every page can upload. {shown}.{_unread(unread, 's3:GetBucketCORS')}",
        _remedy(unread),
        command(
            "put-bucket-cors",
            "--cors-configuration",
            declared.bucket,
            cors_with(rules, origins),
            _endpoint(client),
        ),
    )


def _check_lifecycle(client: "S3Client", declared: UploadsDeclared) -> Finding:
    rules, unread = _rules(
        lambda: client.get_bucket_lifecycle_configuration(Bucket=declared.bucket)["Rules"]
    )
    if aborts_incomplete(rules, declared.prefix):
        return Finding(
            _LIFECYCLE, Grade.OK, f"A rule removes parts of abandoned uploads in {declared.bucket}."
        )
    return Finding(
        _LIFECYCLE,
        Grade.WARNING,
        "No rule removes the parts of abandoned uploads, which cost storage and appear in no "
        f"listing.{_unread(unread, 's3:GetLifecycleConfiguration')}",
        _remedy(unread),
        command(
            "put-bucket-lifecycle-configuration",
            "--lifecycle-configuration",
            declared.bucket,
            lifecycle_with(rules, declared.prefix, life_s(declared)),
            _endpoint(client),
        ),
    )


def _rules(read: Callable[[], Sequence[Any]]) -> tuple[Rules, str | None]:
    """Read rules of a bucket.

    Returns:
        The rules, and why they could not be read, if they could not.
    """
    try:
        return read(), None
    except ClientError as error:
        detail = cast("Mapping[str, Any]", error.response).get("Error", {})
        if detail.get("Code") in _NO_RULES:
            return [], None
        return [], failure("read", "its rules", error).message
    except BotoCoreError as error:
        return [], failure("read", "its rules", error).message


def _preflight_problem(declared: UploadsDeclared, origin: str) -> str | None:
    """Ask the store as a browser of a page would; say why the page cannot upload."""
    store = UploadStore(declared.bucket)
    url = store.sign_put(f"{declared.prefix}doctor", "video/mp4", 1, 60)
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    try:
        answer = httpx.options(url, headers=asked, timeout=_PREFLIGHT_WITHIN_S)
    except httpx.HTTPError as error:
        return f"the store does not answer ({type(error).__name__})"
    allowed = {origin, "*"} & {answer.headers.get("Access-Control-Allow-Origin", "")}
    methods = answer.headers.get("Access-Control-Allow-Methods", "")
    if answer.is_success and allowed and ("PUT" in methods or methods == "*"):
        return None
    return "the bucket refuses a PUT of its pages"


def _unread(why: str | None, action: str) -> str:
    return f" {why} Allow these credentials {action}." if why else ""


def _remedy(unread: str | None) -> str:
    others = "replaces the bucket's other rules" if unread else "keeps the bucket's other rules"
    return f"Run the command below; it {others}."


def _endpoint(client: "S3Client") -> str | None:
    return None if is_at_aws(client) else client.meta.endpoint_url
