"""The rules that a bucket needs for uploads by browsers, and what is wrong with those it has."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

Rules = Sequence[Mapping[str, Any]]

_METHOD = "PUT"
_HEADER = "content-type"
_EXPOSED = "etag"
_PREFLIGHT_VALID_S = 3600
_DAY_S = 86_400
_RULE = "abort-incomplete-uploads"


def problem_of_origin(rules: Rules, origin: str) -> str | None:
    """Say why a page of an origin cannot upload by a bucket's CORS rules; None if it can."""
    for rule in rules:
        allows = (
            _matches(rule.get("AllowedOrigins"), origin)
            and _METHOD in rule.get("AllowedMethods", ())
            and _matches(rule.get("AllowedHeaders"), _HEADER)
        )
        if allows:
            exposed = {str(name).lower() for name in rule.get("ExposeHeaders", ())}
            # S3 uses the first rule that allows a request, and no other.
            return None if exposed & {_EXPOSED, "*"} else "its ETag header is not exposed"
    return f"no rule allows {_METHOD} with a Content-Type"


def cors_with(rules: Rules, origins: Sequence[str]) -> dict[str, Any]:
    """The CORS configuration that lets pages of some origins upload, with a bucket's own rules."""
    ours = {
        "AllowedOrigins": list(origins),
        "AllowedMethods": [_METHOD],
        "AllowedHeaders": [_HEADER],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": _PREFLIGHT_VALID_S,
    }
    # First: the first rule that allows a request decides what is exposed.
    return {"CORSRules": [ours, *rules]}


def aborts_incomplete(rules: Rules, prefix: str) -> bool:
    """Say whether lifecycle rules remove the parts of abandoned uploads below a prefix."""
    return any(
        rule.get("Status") == "Enabled"
        and rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        and (covered := _prefix_of(rule)) is not None
        and prefix.startswith(covered)
        for rule in rules
    )


def lifecycle_with(rules: Rules, prefix: str, life_s: float) -> dict[str, Any]:
    """The lifecycle configuration that removes abandoned parts, with a bucket's own rules.

    Args:
        rules: The bucket's rules.
        prefix: The folder of uploads.
        life_s: Seconds for which an upload may go on.
    """
    ours = {
        "ID": _RULE,
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ceil(life_s / _DAY_S) + 1},
    }
    kept = [_with_filter(rule) for rule in rules if rule.get("ID") != _RULE]
    return {"Rules": [*kept, ours]}


def command(verb: str, option: str, bucket: str, content: Any, endpoint: str | None) -> str:  # noqa: ANN401 - JSON
    """The command of AWS's CLI that gives a bucket a configuration.

    Args:
        verb: Such as `put-bucket-cors`.
        option: The option that takes the configuration.
        bucket: The bucket's name.
        content: The configuration.
        endpoint: URL of the store; None for AWS.
    """
    where = ["--endpoint-url", endpoint] if endpoint else []
    text = json.dumps(content, default=str)
    return shlex.join(["aws", *where, "s3api", verb, "--bucket", bucket, option, text])


def _matches(patterns: Sequence[str] | None, text: str) -> bool:
    """Whether a pattern fits; S3 allows one `*` in each."""
    return any(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.IGNORECASE)
        for pattern in patterns or ()
    )


def _prefix_of(rule: Mapping[str, Any]) -> str | None:
    """The prefix that a lifecycle rule is about; None if it is about more than a prefix."""
    if "Filter" not in rule:
        return str(rule.get("Prefix", ""))
    conditions = {name: value for name, value in rule["Filter"].items() if value is not None}
    if not conditions:
        return ""
    return str(conditions["Prefix"]) if set(conditions) == {"Prefix"} else None


def _with_filter(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Write a rule in the newer form: S3 refuses both forms in one configuration."""
    if "Filter" in rule:
        return dict(rule)
    kept = {name: value for name, value in rule.items() if name != "Prefix"}
    return {**kept, "Filter": {"Prefix": rule.get("Prefix", "")}}
