"""What people call a source."""

from collections.abc import Mapping
from typing import Any


def source_name(source: Mapping[str, Any]) -> str:
    """Name a source in one line, without what may sign its address.

    Args:
        source: The source as JSON.
    """
    if source.get("type") == "failed":
        return f"failed jobs of {source.get('batch')}"
    if source.get("type") == "sql":
        return f"query of {str(source.get('database', '')).rpartition('@')[2]}"
    if named := source.get("manifest_uri") or source.get("queue_url"):
        return str(named)
    # The query of a URL may sign it.
    uri = str(source.get("uri", ""))
    return uri.partition("?")[0] if uri.startswith("http") else uri
