"""YAML that knows on which line each of its values stands."""

from dataclasses import dataclass, field
from typing import Any

import yaml

from ittybatch.profiles.errors import Location, Problem, field_path

MAX_BYTES = 256 * 1024
# Aliases let a small file stand for an enormous one.
MAX_NODES = 20_000


@dataclass
class Document:
    """A parsed file.

    Args:
        data: Its content as plain data; None where it could not be read.
        lines: Line of each value by its location, counted from 1.
        problems: What YAML itself has against it.
    """

    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, location: Location) -> int:
        """Give the line of a value, or of the closest one around it that stands in the file."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def parse_document(text: str) -> Document:
    """Read one YAML document of plain values, keeping each value's line."""
    document = Document()
    try:
        # The safe loader builds nothing but plain data.
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            document.problems.append(Problem(1, "profile", "the file is empty"))
            return document
        _Walk(document).visit(node, ())
        if not document.problems:
            document.data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        document.problems.append(Problem(line, "profile", f"not YAML: {error.problem}"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        document.problems.append(Problem(None, "profile", f"not YAML: {error}"))
    return document


class _Walk:
    """Notes lines and finds duplicate keys, which YAML's loader would let the last one win."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._left = MAX_NODES

    def visit(self, node: yaml.Node, location: Location) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it holds more than {MAX_NODES} values")
        self._document.lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for place, child in enumerate(node.value):
                self.visit(child, (*location, place))
        elif isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, location)

    def _visit_mapping(self, node: yaml.MappingNode, location: Location) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if not name:
                self._refuse(line, location, "a key must be plain text")
                continue
            if name in seen:
                self._refuse(line, (*location, name), "stands twice; keep one")
                continue
            seen.add(name)
            self._document.lines[*location, name] = line
            self.visit(value, (*location, name))

    def _refuse(self, line: int, location: Location, message: str) -> None:
        self._document.problems.append(Problem(line, field_path(location), message))
