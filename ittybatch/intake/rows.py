"""Database webhooks of Supabase: each new row of a declared table is a request.

https://supabase.com/docs/guides/database/webhooks
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from ittybatch.intake.declared import Declared
from ittybatch.intake.wanted import RequestRefused, Wanted
from ittybatch.profiles import Item
from ittybatch.sources.entry import visible
from ittybatch.sources.event import UnreadableError

_TYPES = frozenset({"INSERT", "UPDATE", "DELETE"})
_MAX_SHOWN = 80


def is_row_event(content: Mapping[str, Any]) -> bool:
    """Say whether a JSON object is a database webhook."""
    kind = content.get("type")
    return isinstance(kind, str) and kind in _TYPES and "table" in content and "record" in content


def row_wanted(content: Mapping[str, Any], declared: Declared) -> Wanted | str:
    """Read a database webhook.

    Args:
        content: The webhook's body.
        declared: Which tables get which jobs.

    Returns:
        The request, or the name of the rule that leaves the row out.

    Raises:
        UnreadableError: The row does not have what its declaration names.
        RequestRefused: The row names an object of a bucket that its declaration does not allow.
    """
    if content["type"] != "INSERT":
        return "other event"
    table = declared.table(str(content.get("schema") or "public"), str(content["table"]))
    if table is None:
        return "undeclared"
    record = content["record"]
    if not isinstance(record, dict):
        raise UnreadableError("has no object in `record`")
    for field, column in (("url_column", table.url_column), ("id_column", table.id_column)):
        if column not in record:
            raise UnreadableError(
                f"has no `record.{column}`; in intake.yaml, set `{field}` of table "
                f"{table.table} to the column's name"
            )
    url, row_id = record[table.url_column], record[table.id_column]
    if url is None or url == "":
        return "no url"
    if not isinstance(url, str):
        raise UnreadableError(f"has no text in `record.{table.url_column}`")
    if isinstance(row_id, bool) or not isinstance(row_id, str | int) or row_id == "":
        raise UnreadableError(f"has no text or whole number in `record.{table.id_column}`")
    if not table.allows(url.strip()):
        bucket = visible(Item(url.strip()).bucket)[:_MAX_SHOWN]
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"record.{table.url_column}",
            f"Rows of table {table.table} may not name objects of the bucket {bucket}. Nothing "
            "was made.",
            f"Give the row an https:// URL. Or, if nobody but you writes these rows, add `buckets: "
            f"[{bucket}]` to the table in intake.yaml, and start the receiver again.",
        )
    return Wanted(
        item=Item(url),
        profile=table.profile,
        tasks=table.specs,
        metadata={"job_id": str(row_id)},
    )
