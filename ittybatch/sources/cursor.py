"""Places in a source, written so that a later process can go on from them."""

from typing import Any

import orjson

from ittybatch.sources.errors import SourceError

_VERSION = 1


def write_cursor(source_type: str, source_uri: str, place: dict[str, Any]) -> str:
    """Write a place.

    Args:
        source_type: `type` of the source.
        source_uri: URI of the source, so that no cursor is used with another.
        place: Plain data.
    """
    content = {"version": _VERSION, "type": source_type, "uri": source_uri, "place": place}
    return orjson.dumps(content).decode()


def read_cursor(cursor: str, source_type: str, source_uri: str) -> dict[str, Any]:
    """Read a place.

    Raises:
        SourceError: The cursor is none, or belongs to another source.
    """
    try:
        content = orjson.loads(cursor)
        found = content["version"], content["type"], content["uri"]
        place = content["place"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise _refused(source_uri, "it is damaged") from error
    if found != (_VERSION, source_type, source_uri) or not isinstance(place, dict):
        raise _refused(source_uri, "it was made for another source")
    return place


def _refused(source_uri: str, why: str) -> SourceError:
    return SourceError(
        f"{source_uri} cannot be read on from the saved place: {why}.",
        remedy="Start a new batch of the source; what has been done already is not done again.",
    )
