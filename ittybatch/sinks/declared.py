"""The declared sinks: `deployments/results.yaml`, read and checked."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ittybatch.errors import ConfigurationError
from ittybatch.ledger.sinks import DeclaredSink
from ittybatch.settings import Settings
from ittybatch.sinks.channel import OpenSink
from ittybatch.sinks.dynamodb import implicit_sink
from ittybatch.sinks.kinds import KINDS, open_sink
from ittybatch.sinks.options import SinkOptions
from ittybatch.yaml_files import (
    Document,
    Location,
    Problem,
    UnreadableFile,
    list_problems,
    parse_document,
    read_text,
)

_MAX_SINKS = 20


class ResultsFileError(ConfigurationError):
    """The file that declares the sinks cannot be used."""


def declared_sinks(settings: Settings) -> list[SinkOptions]:
    """Read the declared sinks, and add the one that ITTYBATCH_DYNAMODB_TABLE implies.

    Args:
        settings: Names the file and the table.

    Raises:
        ResultsFileError: Listing every problem with its line, sink and field.
    """
    sinks = read_sinks(settings.results_file)
    implicit = implicit_sink(settings)
    if implicit is None or any(each.name == implicit.name for each in sinks):
        return sinks
    return [*sinks, implicit]


def read_sinks(path: Path) -> list[SinkOptions]:
    """Read and check the sinks of one file; a file of comments declares none.

    Raises:
        ResultsFileError: Listing every problem with its line, sink and field.
    """
    try:
        text = read_text(path)
    except UnreadableFile as error:
        raise ResultsFileError(
            f"{path} {error.reason}.",
            remedy=error.remedy
            or "Check ITTYBATCH_RESULTS_FILE, or unset it for deployments/results.yaml.",
        ) from error
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return []
    reading = _Reading(parse_document(text))
    if reading.problems:
        raise _unusable(path, reading.problems)
    return reading.found


def for_ledger(sinks: Sequence[SinkOptions]) -> list[DeclaredSink]:
    """The sinks as the ledger stores them."""
    return [DeclaredSink(each.name, each.kind, each.on_accepted) for each in sinks]


def open_sinks(sinks: Sequence[SinkOptions]) -> list[OpenSink]:
    """Open declared sinks. They connect when they are used."""
    return [OpenSink(open_sink(each), each.wants) for each in sinks]


class _Reading:
    """Reads the sinks of a document, and collects its problems."""

    def __init__(self, document: Document) -> None:
        self.found: list[SinkOptions] = []
        self.problems = [*document.problems]
        self._document = document
        if not self.problems:
            self._read(document.data)

    def _read(self, data: object) -> None:
        if not isinstance(data, Mapping):
            self._note((), "it must be a mapping with a list named `sinks`")
            return
        for name in data:
            if name != "sinks":
                self._note((name,), "there is no such field; the sinks are in the list `sinks`")
        entries = data.get("sinks", [])
        if not isinstance(entries, list):
            self._note(("sinks",), "it must be a list of sinks")
        elif len(entries) > _MAX_SINKS:
            self._note(("sinks",), f"it has {len(entries)} sinks; the most are {_MAX_SINKS}")
        else:
            for index, entry in enumerate(entries):
                self._read_sink(index, entry)

    def _read_sink(self, index: int, entry: object) -> None:
        name = entry.get("name") if isinstance(entry, Mapping) else None
        sink = f"sink {name!r}: " if isinstance(name, str) else ""
        if any(each.name == name for each in self.found):
            self._note(("sinks", index, "name"), f"{sink}another sink has this name")
        made = _sink(entry)
        if isinstance(made, SinkOptions):
            self.found.append(made)
            return
        for below, message in made:
            self._note(("sinks", index, *below), sink + message)

    def _note(self, location: Location, message: str) -> None:
        self.problems.append(self._document.problem(location, message))


def _sink(entry: Any) -> SinkOptions | list[tuple[Location, str]]:  # noqa: ANN401  YAML
    if not isinstance(entry, Mapping):
        return [((), "it must be a mapping with `name`, `kind` and the options of its kind")]
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        what = "it is missing" if kind is None else f"there is no kind {kind!r}"
        return [(("kind",), f"{what}; the kinds are {', '.join(KINDS)}")]
    try:
        return KINDS[kind].model_validate(entry)
    except ValidationError as error:
        return list(_problems(error))


def _problems(error: ValidationError) -> Iterator[tuple[Location, str]]:
    # Without the input, which may be a password.
    for detail in error.errors(include_url=False, include_input=False):
        message = detail["msg"].removeprefix("Value error, ")
        yield detail["loc"], message[:1].lower() + message[1:]


def _unusable(path: Path, problems: Sequence[Problem]) -> ResultsFileError:
    return ResultsFileError(
        list_problems(str(path), problems) + "\n",
        remedy="Correct the file; docs/results.md describes it. Results wait in the ledger.",
    )
