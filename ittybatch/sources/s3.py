"""Clients of S3 and other AWS services: credentials, endpoint, region, retries and errors."""

import ipaddress
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

import boto3
import botocore.session
import stamina
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.loaders import Loader
from s3transfer.exceptions import RetriesExceededError
from urllib3.exceptions import ProtocolError

from ittybatch.ittybit.redaction import has_user, without_secrets
from ittybatch.profiles.keys import is_bucket_name
from ittybatch.sources.page import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

T = TypeVar("T")

SCHEME = "s3://"
DEFAULT_REGION = "us-east-1"

# Directory buckets do not list keys in order, so a later process could not resume.
_DIRECTORY_BUCKET = "--x-s3"
# Threads that share one client. By default botocore keeps only 10 connections open.
MOST_AT_ONCE = 32
_LIMITS = Config(
    connect_timeout=10,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=MOST_AT_ONCE,
)
# Other stores than AWS refuse the checksums that boto3 adds to every upload.
_WITHOUT_CHECKSUMS = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}
# How long to repeat a call to a service that asks to slow down or cannot be reached.
PATIENCE_S = 300.0
FIRST_WAIT_S = 1.0
# An address where no server ever answered is more often a typing error than an outage.
UNREACHABLE_TRIES = 3
# A server may ask for an hour. Cap each wait, so that the call fails within `PATIENCE_S` and
# somebody notices.
_MAX_WAIT_S = 120.0
_TRANSIENT_STATUSES = frozenset({429, 500, 502, 503, 504})
_SLOW_DOWN = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "KmsThrottled",
    }
)
_UNREACHABLE = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
_INTERRUPTED = (
    ConnectionClosedError,
    ReadTimeoutError,
    ResponseStreamingError,
    IncompleteReadError,
    RetriesExceededError,
    ProtocolError,
)
_REMEDIES = {
    "NoSuchBucket": "Check the bucket's name, and that AWS_ENDPOINT_URL is the right store.",
    "NoSuchKey": "Check the key.",
    "AccessDenied": "Allow these credentials s3:ListBucket on the bucket and s3:GetObject on its "
    "objects. If the bucket is one where the requester pays, set `request_payer` "
    "(`--request-payer`).",
    "InvalidAccessKeyId": "Check AWS_ACCESS_KEY_ID, or AWS_PROFILE.",
    "SignatureDoesNotMatch": "Check AWS_SECRET_ACCESS_KEY.",
    "ExpiredToken": "Renew the AWS credentials, then start the batch again; it resumes.",
}
# A HEAD response has no body, so its code is the status. Callers that HEAD an object handle 404
# themselves.
_ALIASES = {"404": "NoSuchBucket", "403": "AccessDenied", "AllAccessDisabled": "AccessDenied"}


def split_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into bucket and key; the key may be empty.

    Raises:
        ValueError: It is not an S3 URI, or its bucket cannot be listed in order.
    """
    if not uri.startswith(SCHEME):
        raise ValueError(f"{without_secrets(uri)!r} does not begin with {SCHEME}")
    if has_user(uri):
        raise ValueError(
            "it holds a key or a password before the bucket's name, which would be kept and shown; "
            "take it out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not is_bucket_name(bucket):
        raise ValueError(f"{bucket!r} in {uri!r} is not a bucket name")
    if bucket.endswith(_DIRECTORY_BUCKET):
        raise ValueError(f"{bucket!r} is a directory bucket, which is not listed in order")
    return bucket, key


def is_loopback(host: str | None) -> bool:
    """Say whether a host is this machine, where nobody else can read plain HTTP."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


@cache
def _models() -> Loader:
    loader: Loader = botocore.session.get_session().get_component("data_loader")
    return loader


def new_session() -> boto3.Session:
    """Make a session that shares the loaded service descriptions with other sessions.

    Loading them takes a quarter of a second for each client.
    """
    session = botocore.session.get_session()
    session.register_component("data_loader", _models())
    # boto3 reads AWS_DEFAULT_REGION only; other AWS tools read AWS_REGION.
    region = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    return boto3.Session(botocore_session=session, region_name=region or None)


def s3_client(session: boto3.Session | None = None, region: str | None = None) -> "S3Client":
    """Make an S3 client from the environment, which it reads as every AWS tool does.

    Args:
        session: The session with credentials and region; a new one if None.
        region: Overrides the session's region.

    Raises:
        SourceError: The endpoint is plain HTTP to another machine, or the configuration is
            unusable.
    """
    return cast("S3Client", aws_client("s3", session, region))


def aws_client(
    service: Literal["s3", "sqs", "dynamodb"],
    session: boto3.Session | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
    config: Config | None = None,
) -> "S3Client | SQSClient | DynamoDBClient":
    """Make a client of a service; arguments and errors as for `s3_client`.

    `endpoint_url` overrides the environment's, and `config` adds to the configuration.
    """
    try:
        session = session or new_session()
        region = region or session.region_name or DEFAULT_REGION
        client: S3Client | SQSClient | DynamoDBClient = session.client(
            service,
            region_name=region,
            endpoint_url=endpoint_url,
            config=_LIMITS.merge(Config(signature_version=_signature(service, session))).merge(
                config or Config()
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise SourceError(
            f"The AWS configuration cannot be used: {error}",
            remedy="Check AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL.",
        ) from error
    url = urlsplit(client.meta.endpoint_url)
    if url.scheme != "https" and not is_loopback(url.hostname):
        raise SourceError(
            f"The {service.upper()} endpoint {url.scheme}://{url.netloc} is not HTTPS.",
            remedy="Set AWS_ENDPOINT_URL to an https:// URL; http:// is for this machine only.",
        )
    if not is_at_aws(client):
        # The endpoint is known only once the client exists, and making another one is slow.
        vars(client.meta.config).update(_WITHOUT_CHECKSUMS)
    return client


def request_payer_parameters(request_payer: bool) -> dict[str, Any]:
    """Return the parameters of a request to a bucket where the requester pays."""
    return {"RequestPayer": "requester"} if request_payer else {}


def can_sign(client: "S3Client") -> bool:
    """Say whether a client has credentials. Without them its presigned URLs have no signature."""
    return vars(client.meta.config).get("signature_version") is not UNSIGNED


def is_at_aws(client: "S3Client | SQSClient | DynamoDBClient") -> bool:
    """Say whether a client's endpoint belongs to AWS, in any of its partitions."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return host.endswith(_aws_domains())


@cache
def _aws_domains() -> tuple[str, ...]:
    """The domains of all partitions that botocore knows, each with a leading dot."""
    # Every client has loaded this file.
    partitions = _models().load_data("partitions")["partitions"]
    names = ("dnsSuffix", "dualStackDnsSuffix")
    return tuple({f".{each['outputs'][name]}" for each in partitions for name in names})


def patient(call: "Callable[[], T]", *, first: bool = False) -> T:
    """Call a service, and retry for some minutes while it fails or cannot be reached.

    boto3's own retries end within seconds. A bucket that many processes list answers `SlowDown`
    for longer than that.

    Args:
        call: The call, which is repeated as a whole.
        first: Whether the service has never answered; then only a few tries may fail to reach it.

    Raises:
        ClientError: The service refused the call, or kept failing for `PATIENCE_S`.
        BotoCoreError: The service did not answer.
        RetriesExceededError, HTTPError: The transfer broke off too often (s3transfer, urllib3).
    """
    unreachable = 0

    def wait_s(error: Exception) -> bool | float:
        nonlocal unreachable
        unreachable += isinstance(error, _UNREACHABLE)
        if first and unreachable >= UNREACHABLE_TRIES:
            return False
        return _wait_after(error)

    for attempt in stamina.retry_context(
        on=wait_s, attempts=None, timeout=PATIENCE_S, wait_initial=FIRST_WAIT_S, wait_max=30
    ):
        with attempt:
            return call()
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


_ask_first = partial(patient, first=True)


def client_in_region_of(
    uri: str,
    *,
    config: Config | None = None,
    ask: "Callable[[Callable[[], Any]], Any]" = _ask_first,
) -> "S3Client":
    """Make an S3 client in a bucket's region. S3 names it even if access is denied.

    Args:
        uri: The bucket, or an object in it.
        config: Adds to the client's configuration.
        ask: Calls the service; the default retries for minutes.

    Raises:
        SourceError: There is no such bucket, the store does not answer, or the configuration
            cannot be used.
    """
    session = new_session()
    client = cast("S3Client", aws_client("s3", session, config=config))
    metadata: Mapping[str, Any]
    try:
        metadata = ask(lambda: client.head_bucket(Bucket=split_uri(uri)[0]))["ResponseMetadata"]
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        if metadata.get("HTTPStatusCode") == 404:  # noqa: PLR2004 - HTTP's not found
            raise failure("listed", uri, error) from error
    except BotoCoreError as error:
        raise failure("listed", uri, error) from error
    found = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if not is_at_aws(client) or found in {None, client.meta.region_name}:
        return client
    client.close()
    return cast("S3Client", aws_client("s3", session, found, config=config))


def _wait_after(error: Exception) -> bool | float:
    """Say whether to retry, or after how many seconds if the service asks for a wait."""
    if isinstance(error, (*_UNREACHABLE, *_INTERRUPTED)):
        return True
    if not isinstance(error, ClientError):
        return False
    metadata = cast("Mapping[str, Any]", error.response).get("ResponseMetadata", {})
    if metadata.get("HTTPStatusCode") not in _TRANSIENT_STATUSES and _code(error) not in _SLOW_DOWN:
        return False
    asked_s = parse_retry_after(metadata.get("HTTPHeaders", {}).get("retry-after"))
    return True if asked_s is None else asked_s


def parse_retry_after(header: str | None) -> float | None:
    """Read the seconds to wait from a `Retry-After` header: a number, or an HTTP date.

    Returns:
        At most two minutes, whatever the server asks for; None if the header says neither.
    """
    if not header:
        return None
    try:
        asked_s = float(header)
    except ValueError:
        try:
            moment = parsedate_to_datetime(header)
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        asked_s = (moment - datetime.now(UTC)).total_seconds()
    return min(max(0.0, asked_s), _MAX_WAIT_S)


def _code(error: ClientError) -> str:
    code = str(cast("Mapping[str, Any]", error.response).get("Error", {}).get("Code", ""))
    return _ALIASES.get(code, code)


def _signature(service: str, session: boto3.Session) -> Any:  # noqa: ANN401 - UNSIGNED is no text
    if session.get_credentials() is None:
        # Public buckets are read without credentials.
        return UNSIGNED if service == "s3" else None
    # By default boto3 signs URLs in a way that newer regions refuse.
    return "s3v4" if service == "s3" else None


def failure(what: str, uri: str, error: Exception) -> SourceError:
    """Describe an AWS error by the bucket, the reason and the remedy.

    Args:
        what: What could not be done, such as `listed`.
        uri: The bucket or object.
        error: The exception from botocore.
    """
    if isinstance(error, ClientError):
        detail = cast("Mapping[str, Any]", error.response).get("Error", {})
        code = _code(error)
        message = str(detail.get("Message", "")).rstrip(".")
        return SourceError(
            f"{uri} cannot be {what}: {code}{f' ({message})' if message else ''}.",
            remedy=_REMEDIES.get(code, "Try again later. A batch resumes where it stopped."),
        )
    if isinstance(error, NoCredentialsError):
        return SourceError(
            f"{uri} cannot be {what}: no AWS credentials were found.",
            remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        )
    return SourceError(
        f"{uri} cannot be {what}: {error}",
        remedy="Check the network and AWS_ENDPOINT_URL. A batch resumes where it stopped.",
    )
