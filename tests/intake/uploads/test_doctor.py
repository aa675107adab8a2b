"""What `doctor` says about the bucket of uploads, and whether its commands help."""

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from ittybatch.engine.finding import Finding, Grade
from ittybatch.intake.declared import UploadsDeclared
from ittybatch.intake.upload_checks import check_uploads
from ittybatch.intake.upload_rules import aborts_incomplete, problem_of_origin
from tests.intake.uploads.serving import PAGE

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OWN_RULE: Any = {"AllowedOrigins": ["https://other.example"], "AllowedMethods": ["GET"]}
OWN_LIFECYCLE: Any = {
    "ID": "old",
    "Status": "Enabled",
    "Prefix": "logs/",
    "Expiration": {"Days": 30},
}


@pytest.fixture
def strict(s3: "S3Client", bucket: str) -> str:
    """A bucket with rules of its own, which do not allow uploads."""
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [OWN_RULE]})
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={"Rules": [OWN_LIFECYCLE]},
    )
    return bucket


def findings(declared: UploadsDeclared) -> dict[str, Finding]:
    return {finding.check: finding for finding in check_uploads(declared)}


def configuration(finding: Finding, verb: str, bucket: str, aws_url: str) -> dict[str, Any]:
    """What the command of a finding sets, read as a shell reads it."""
    words = shlex.split(finding.command)
    assert words[:4] == ["aws", "--endpoint-url", aws_url, "s3api"]
    assert words[4:7] == [verb, "--bucket", bucket]
    content: dict[str, Any] = json.loads(words[8])
    return content


def test_the_commands_of_doctor_make_a_bucket_ready(
    s3: "S3Client", strict: str, aws_url: str
) -> None:
    """They keep the rules that the bucket has."""
    declared = UploadsDeclared(bucket=strict, profile="web", allowed_origins=(PAGE,))
    before = findings(declared)
    assert before["Uploads"].grade is Grade.OK
    assert before["Uploads (CORS)"].grade is Grade.BROKEN
    assert "no rule allows PUT" in before["Uploads (CORS)"].what
    assert before["Uploads (abandoned)"].grade is Grade.WARNING

    cors: Any = configuration(before["Uploads (CORS)"], "put-bucket-cors", strict, aws_url)
    s3.put_bucket_cors(Bucket=strict, CORSConfiguration=cors)
    lifecycle: Any = configuration(
        before["Uploads (abandoned)"],
        "put-bucket-lifecycle-configuration",
        strict,
        aws_url,
    )
    s3.put_bucket_lifecycle_configuration(Bucket=strict, LifecycleConfiguration=lifecycle)

    after = findings(declared)
    assert {finding.grade for finding in after.values()} == {Grade.OK}
    assert not any(finding.command for finding in after.values())
    assert OWN_RULE in s3.get_bucket_cors(Bucket=strict)["CORSRules"]
    kept = {rule["ID"] for rule in s3.get_bucket_lifecycle_configuration(Bucket=strict)["Rules"]}
    assert kept == {"old", "abort-incomplete-uploads"}


def test_a_page_that_cannot_read_the_etag_is_a_warning(s3: "S3Client", bucket: str) -> None:
    """Completing without ETags works; a library that wants them does not."""
    s3.put_bucket_cors(
        Bucket=bucket,
        CORSConfiguration={
            "CORSRules": [
                {"AllowedOrigins": ["*"], "AllowedMethods": ["PUT"], "AllowedHeaders": ["*"]}
            ]
        },
    )
    found = findings(UploadsDeclared(bucket=bucket, profile="web", allowed_origins=(PAGE,)))
    assert found["Uploads (CORS)"].grade is Grade.WARNING
    assert "ETag" in found["Uploads (CORS)"].what


def test_no_page_may_upload_if_none_is_declared(bucket: str) -> None:
    """The store is always of another origin than the page."""
    found = findings(UploadsDeclared(bucket=bucket, profile="web"))["Uploads (CORS)"]
    assert found.grade is Grade.WARNING
    assert "allowed_origins" in found.remedy


def test_a_store_that_allows_every_page_needs_no_rule(bucket: str) -> None:
    """As this one and MinIO do; its answer to a browser's question counts."""
    found = findings(UploadsDeclared(bucket=bucket, profile="web", allowed_origins=(PAGE,)))
    assert found["Uploads (CORS)"].grade is Grade.OK


def test_a_missing_bucket_is_named(s3: "S3Client") -> None:
    """Nothing else is checked then."""
    del s3
    [found] = findings(UploadsDeclared(bucket="no-such-bucket", profile="web")).values()
    assert found.grade is Grade.BROKEN
    assert "s3://no-such-bucket/" in found.what
    assert found.remedy


def test_without_credentials_nothing_can_be_signed(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 would sign nothing, and say nothing."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    [found] = findings(UploadsDeclared(bucket=bucket, profile="web")).values()
    assert found.grade is Grade.BROKEN
    assert "credentials" in found.what


def rule(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """A rule that allows uploads, changed."""
    return {
        "AllowedOrigins": [PAGE],
        "AllowedMethods": ["PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        **changes,
    }


@pytest.mark.parametrize(
    ("rules", "works"),
    [
        ([rule()], True),
        ([rule(AllowedOrigins=["https://*.example.com"])], True),
        ([rule(AllowedOrigins=["*"], ExposeHeaders=["etag"])], True),
        ([rule(AllowedHeaders=["Content-Type"])], True),
        ([rule(AllowedMethods=["GET"]), rule()], True),
        ([], False),
        ([rule(AllowedOrigins=["http://app.example.com"])], False),
        ([rule(AllowedOrigins=["https://*.example"])], False),
        ([rule(AllowedMethods=["POST"])], False),
        ([rule(AllowedHeaders=[])], False),
        ([rule(ExposeHeaders=[])], False),
        ([rule(ExposeHeaders=[]), rule()], False),
    ],
)
def test_cors_rules_are_read_as_s3_reads_them(rules: list[dict[str, Any]], works: bool) -> None:
    """The first rule that allows the request decides."""
    assert (problem_of_origin(rules, PAGE) is None) == works


ABORT = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}


@pytest.mark.parametrize(
    ("found", "works"),
    [
        ({"Status": "Enabled", "Filter": {"Prefix": "uploads/"}, **ABORT}, True),
        ({"Status": "Enabled", "Filter": {}, **ABORT}, True),
        ({"Status": "Enabled", "Prefix": "up", **ABORT}, True),
        ({"Status": "Enabled", **ABORT}, True),
        ({"Status": "Disabled", "Filter": {"Prefix": ""}, **ABORT}, False),
        ({"Status": "Enabled", "Filter": {"Prefix": "uploads/more/"}, **ABORT}, False),
        ({"Status": "Enabled", "Filter": {"Tag": {"Key": "a", "Value": "b"}}, **ABORT}, False),
        ({"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}, False),
    ],
)
def test_lifecycle_rules_count_if_they_cover_the_folder(found: dict[str, Any], works: bool) -> None:
    """And if they are enabled."""
    assert aborts_incomplete([found], "uploads/") == works
