"""Readable names for batches, their sources, and their flow runs in the Prefect UI."""

import re
from collections.abc import Mapping
from typing import Any

from ittybatch.ledger import Transaction
from ittybatch.ledger.batches import read_batch
from ittybatch.sources.failed import EVERY_BATCH

_MAX_SOURCE_CHARS = 60
_MAX_BATCH_CHARS = 100
# They run whatever they are asked for, so their names say nothing about a batch.
_GENERAL_DEPLOYMENTS = frozenset({"adhoc", "retry-failed"})
_RETRY = re.compile(r"retry (?:(?P<number>[0-9]{1,4}) )?of (?P<first>.+)")


def default_batch_name(
    transaction: Transaction, source: Mapping[str, Any], profile: str, deployment: str | None
) -> str:
    """Name a batch that nobody has named: `nightly`, `uploads, web` or `retry of uploads, web`.

    Args:
        transaction: The transaction to read the name of a retried batch in.
        source: The batch's source, as JSON; a source of failed jobs has a batch's id or `all`.
        profile: The profile's name.
        deployment: The name of the deployment that runs the batch; None outside deployments.

    Raises:
        UnknownBatch: The ledger lacks the batch whose jobs are retried.
    """
    if deployment is not None and deployment not in _GENERAL_DEPLOYMENTS:
        return deployment
    if source.get("type") == "failed":
        if source.get("batch") == EVERY_BATCH:
            return "retry of all batches"
        return _retry_of(read_batch(transaction, str(source.get("batch"))).name)
    name = source_name(source)
    if not name.startswith("query of "):
        name = name.rstrip("/").rpartition("/")[2]
    return _short(f"{name}, {profile}" if name else profile, _MAX_BATCH_CHARS)


def _retry_of(name: str) -> str:
    """Count retries of retries, so that their names do not grow."""
    if earlier := _RETRY.fullmatch(name):
        name = f"retry {int(earlier['number'] or 1) + 1} of {earlier['first']}"
    else:
        name = f"retry of {name}"
    return _short(name, _MAX_BATCH_CHARS)


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


def _short(text: str, most: int = _MAX_SOURCE_CHARS) -> str:
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"
