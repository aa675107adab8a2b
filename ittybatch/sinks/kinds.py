"""The kinds of sinks that `results.yaml` may declare."""

from typing import Protocol, runtime_checkable

from ittybatch.sinks.base import SinkPort
from ittybatch.sinks.dynamodb import DynamoOptions
from ittybatch.sinks.http import HttpOptions
from ittybatch.sinks.options import SinkOptions
from ittybatch.sinks.slack import SlackOptions
from ittybatch.sinks.sql import SqlOptions


@runtime_checkable
class Openable(Protocol):
    """The options of a sink, which make the sink."""

    def open(self) -> SinkPort:
        """Make the sink. It connects when it is used."""


KINDS: dict[str, type[SinkOptions]] = {
    "sql": SqlOptions,
    "dynamodb": DynamoOptions,
    "http": HttpOptions,
    "slack": SlackOptions,
}


def open_sink(options: SinkOptions) -> SinkPort:
    """Make the sink that some options declare."""
    assert isinstance(options, Openable)  # noqa: S101  as every kind is
    return options.open()
