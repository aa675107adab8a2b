"""The item that a result is in DynamoDB: the guide's attributes, and those that are declared."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from boto3.dynamodb.types import TypeSerializer

from ittybatch.engine.reports.dynamodb_item import guide_values
from ittybatch.sinks.base import Result
from ittybatch.sinks.fields import iso
from ittybatch.sinks.values import UNCHANGED, Value

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MAX_ITEM_BYTES: Final = 400 * 1024
_MAX_SORT_KEY_BYTES: Final = 1024


def item_of(result: Result, attributes: Mapping[str, Value]) -> "dict[str, AttributeValueTypeDef]":
    """Make the item of a result; attributes without a value are absent.

    Args:
        result: A result with an id at Ittybit.
        attributes: More attributes.

    Raises:
        ValueError: DynamoDB would not take it. The message says why.
    """
    values = guide_values(
        result.input_url,
        str(result.task_id),
        result.submitted_at,
        result.completed_at,
        status=result.status,
        kind=result.kind,
        output_url=result.output_url,
        batch_id=result.batch_id,
        rendition=result.rendition,
        format=result.output_format,
        size_bytes=result.size_bytes,
        attempts=result.attempts,
        error_kind=result.error_kind,
        error_message=result.error,
    ) | {name: each.of(result) for name, each in attributes.items()}
    item = {
        name: _serialized(name, value)
        for name, value in values.items()
        if value is not None and value is not UNCHANGED
    }
    _check_size(item)
    return item


def _serialized(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON, or a time
    try:
        return TypeSerializer().serialize(_plain(value))
    except (TypeError, ArithmeticError):
        raise ValueError(f"DynamoDB has no type for the value of {name}") from None


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON, or a time
    """A value as DynamoDB's serializer takes it: no floats, and times as text."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return Decimal(str(value))
        case dict():
            return {str(name): _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case _:
            return iso(cast("datetime", value))


def _check_size(item: "Mapping[str, AttributeValueTypeDef]") -> None:
    size = sum(len(name.encode()) + _size(value) for name, value in item.items())
    if size > MAX_ITEM_BYTES:
        raise ValueError(
            f"the item has {size:,} bytes, and DynamoDB takes at most {MAX_ITEM_BYTES:,}"
        )
    if _size(item["sk"]) > _MAX_SORT_KEY_BYTES:
        raise ValueError(f"its sort key has more than {_MAX_SORT_KEY_BYTES:,} bytes")


def _size(value: Any) -> int:  # noqa: ANN401 - an attribute's value
    """The bytes of a value, by DynamoDB's rules for the sizes of items."""
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return len(content.encode("utf-8", "replace"))
        case "N":
            return len(content) // 2 + 2
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(each) for name, each in content.items())
        case "L":
            return 3 + sum(1 + _size(each) for each in content)
        case _:
            return 1
