"""Names of batches' flow runs in the Prefect UI: what each one does."""

from collections.abc import Mapping
from typing import Any

_LONGEST = 60


def run_name(what: str, source: Mapping[str, Any], profile: str, remark: str = "") -> str:
    """Name a run of a batch: `nightly: s3://media/uploads/, web (resumed)`.

    Args:
        what: The batch's or the deployment's name.
        source: The batch's source, as JSON.
        profile: Name of its profile. A retry has one for each job, and its name has none.
        remark: What is special about this run, if anything.
    """
    name = f"{what}: {_short(source_name(source))}"
    if source.get("type") != "failed":
        name += f", {profile}"
    return f"{name} ({remark})" if remark else name


def source_name(source: Mapping[str, Any]) -> str:
    """Name a source as people do."""
    if source.get("type") == "failed":
        return f"failed jobs of {source.get('batch')}"
    if source.get("type") == "sql":
        return f"query of {str(source.get('database', '')).rpartition('@')[2]}"
    if named := source.get("manifest_uri") or source.get("queue_url"):
        return str(named)
    # The query of a URL may be its signature.
    uri = str(source.get("uri", ""))
    return uri.partition("?")[0] if uri.startswith("http") else uri


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"
