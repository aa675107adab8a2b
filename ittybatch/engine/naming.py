"""Readable names for the flow runs of batches in the Prefect UI."""

from collections.abc import Mapping
from typing import Any

_MAX_SOURCE_CHARS = 60


def run_name(what: str, source: Mapping[str, Any], profile: str, remark: str = "") -> str:
    """Name a run of a batch: `nightly: s3://media/uploads/, web (resumed)`.

    Args:
        what: The batch's or the deployment's name.
        source: The batch's source, as JSON.
        profile: The profile's name. The name of a retry omits it, because each retried job keeps
            its own profile.
        remark: A note to add in parentheses, for example `resumed`.
    """
    name = f"{what}: {_short(source_name(source))}"
    if source.get("type") != "failed":
        name += f", {profile}"
    return f"{name} ({remark})" if remark else name


def source_name(source: Mapping[str, Any]) -> str:
    """Return a short, readable name for a source."""
    if source.get("type") == "failed":
        return f"failed jobs of {source.get('batch')}"
    if source.get("type") == "requests":
        return f"requests of {source.get('day')}"
    if source.get("type") == "sql":
        return f"query of {str(source.get('database', '')).rpartition('@')[2]}"
    if named := source.get("manifest_uri") or source.get("queue_url"):
        return str(named)
    # Omit a URL's query: it may contain a signature.
    uri = str(source.get("uri", ""))
    return uri.partition("?")[0] if uri.startswith("http") else uri


def _short(text: str) -> str:
    half = _MAX_SOURCE_CHARS // 2
    return text if len(text) <= _MAX_SOURCE_CHARS else f"{text[:half]}…{text[-half:]}"
