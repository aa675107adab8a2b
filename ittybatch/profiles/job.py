"""One rendition of one item, and the key that identifies the job forever."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from ittybatch.ittybit.options import Kind, canonical_options
from ittybatch.profiles.item import S3_SCHEME, Item

DEFAULT_ATTEMPTS = 3
DEFAULT_DEADLINE_S = 6 * 3600.0
DEFAULT_BACKOFF_S = 30.0
JOB_KEY_LENGTH = 32
# The first part of a job key, shared by all jobs of an item.
ITEM_KEY_LENGTH = 21

_SHARED_LENGTH = 5
# Three digits and a suffix, such as `042.mov`: a few hundred items count as neighbours.
_OWN_CHARACTERS = 7


@dataclass(slots=True)
class JobSpec:
    """What to submit for one rendition of one item. Do not change it.

    It is not frozen: creating a frozen one takes longer than everything else a plan does for it.

    Args:
        rendition: Name of the rendition; the kind if the item's manifest row asks for the job.
        kind: Kind of job.
        input: URI of the item.
        options: Canonical options, shared between jobs. Do not change them.
        destination: `s3://bucket/key` of the output; None for Ittybit's own store.
        metadata: The user's own name-value pairs.
        attempts: Maximum number of submissions.
        deadline_s: Seconds from a submission until it counts as expired.
        backoff_s: Base of the wait before the next attempt, in seconds.
        job_key: 32 hex characters, equal for equal jobs.
        recipe: Digest of what the rendition asks for, the same for every item; None if the
            item's manifest row asks for the job.
    """

    rendition: str
    kind: Kind
    input: str
    options: Mapping[str, Any]
    destination: str | None
    metadata: Mapping[str, str]
    attempts: int
    deadline_s: float
    backoff_s: float
    job_key: str
    recipe: str | None = None


def identifying_json(options: Mapping[str, Any]) -> str:
    """Serialise canonical options; options that ask for the same output give the same JSON.

    `connection_id` is left out: it says how a bucket is reached, not what is made.
    """
    identifying = {name: value for name, value in options.items() if name != "connection_id"}
    return orjson.dumps(identifying, option=orjson.OPT_SORT_KEYS).decode()


def item_key(item: Item) -> str:
    """Derive the first part of the job keys of an item.

    Args:
        item: Identified by its URI and its fingerprint, if it has one.

    Returns:
        21 hex characters: 5 shared with neighbours, and 16 of a SHA-256.
    """
    name = _name(item)
    # As an array, so that no value can run into the next one.
    digest = hashlib.sha256(orjson.dumps([name, item.fingerprint])).hexdigest()
    own_length = ITEM_KEY_LENGTH - _SHARED_LENGTH
    return _neighbourhood(name[:-_OWN_CHARACTERS]) + digest[:own_length]


def key_beginnings(uri: str) -> set[str]:
    """The beginnings of all job keys that an item with this URI may have.

    They find the jobs of a URI, and those of its neighbours, in the ledger's index of keys.

    Args:
        uri: As the source named the item, whatever its fingerprint.
    """
    names = {_name(Item(uri)), _name(Item(uri, fingerprint="any"))}
    return {_neighbourhood(name[:-_OWN_CHARACTERS]) for name in names}


def job_key(item: str, kind: str, options_json: str, destination: str | None) -> str:
    """Derive a job's key.

    Names of profiles and renditions, metadata and limits are left out on purpose: they do not
    change what Ittybit makes, so changing them must not make, and charge, it again.

    Args:
        item: The item's `item_key`.
        kind: Kind of job.
        options_json: The options through `identifying_json`.
        destination: As in the job.

    Returns:
        32 hex characters: the item's 21, and 11 of a SHA-256 of the rest.
    """
    if destination is None:
        return item + _order_without_destination(kind, options_json)
    return item + order_digest(kind, options_json, destination)


def order_digest(kind: str, options_json: str, destination: object) -> str:
    """Digest what is asked for, independent of the item: 11 hex characters.

    Args:
        kind: Kind of job.
        options_json: The options through `identifying_json`.
        destination: Where the output goes, as JSON's types.
    """
    order = orjson.dumps([kind, options_json, destination])
    return hashlib.sha256(order).hexdigest()[: JOB_KEY_LENGTH - ITEM_KEY_LENGTH]


@lru_cache(maxsize=4096)
def _order_without_destination(kind: str, options_json: str) -> str:
    return order_digest(kind, options_json, None)


@lru_cache(maxsize=4096)
def _neighbourhood(beginning: str) -> str:
    """The prefix shared by the keys of items whose names differ only in their last characters.

    A source lists neighbours together. With a shared prefix their keys go to the same pages of
    the ledger's index; with random keys, planning a page would write to the whole index.
    """
    return hashlib.sha256(beginning.encode()).hexdigest()[:_SHARED_LENGTH]


def _name(item: Item) -> str:
    """The URI that identifies an item: without a URL's query where there is a fingerprint."""
    if item.fingerprint is None or item.uri.startswith(S3_SCHEME):
        return item.uri
    return item.uri.partition("?")[0]


def own_job(item: Item) -> JobSpec:
    """Make the only job of an item whose manifest row gives a kind and options.

    Raises:
        InvalidOptions: The kind is unknown, or the options do not fit it.
    """
    options_text = orjson.dumps(item.options or {}, option=orjson.OPT_SORT_KEYS)
    kind, options, options_json = _own_options(str(item.kind), options_text)
    return JobSpec(
        rendition=kind.value,
        kind=kind,
        input=item.uri,
        options=options,
        destination=None,
        metadata=item.metadata,
        attempts=DEFAULT_ATTEMPTS,
        deadline_s=DEFAULT_DEADLINE_S,
        backoff_s=DEFAULT_BACKOFF_S,
        job_key=job_key(item_key(item), kind.value, options_json, None),
    )


# Rows of a manifest repeat the same few options, and checking them takes most of the time.
@lru_cache(maxsize=4096)
def _own_options(kind: str, options_text: bytes) -> tuple[Kind, dict[str, Any], str]:
    options = canonical_options(kind, orjson.loads(options_text))
    return Kind(kind), options, identifying_json(options)
