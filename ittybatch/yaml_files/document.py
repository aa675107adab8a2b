"""Parse YAML and keep the line of each value.

Plain values are read as YAML 1.2. PyYAML's own loader reads 1.1, in which 0720 is octal, 1:30 is
90, and `no` is false.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from ittybatch.yaml_files.problems import ROOT, Location, Problem, field_path

# With aliases, a small file can expand to an enormous one.
MAX_NODES = 20_000


_TAG = "tag:yaml.org,2002:"


# What constructors of PyYAML raise for a value that is not what its tag says.
_UNREADABLE = (ValueError, LookupError, AttributeError, TypeError)


class _Loader(yaml.SafeLoader):
    """Builds plain data only, by the core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  PyYAML fills it

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """Read a whole number; a leading zero has no meaning."""
        text = node.value
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)  # noqa: PLR2004


# https://yaml.org/spec/1.2.2/#1032-tag-resolution, and `<<` of YAML 1.1, which people use.
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern})\Z"), list(_first))
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_int)


@dataclass
class Document:
    """A parsed file.

    Args:
        root: What the document as a whole is called in problems.
        data: Its content as plain data; None if it could not be read.
        lines: Line of each value by its location, counted from 1.
        problems: Errors in the YAML itself.
    """

    root: str
    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, location: Location) -> int:
        """Return the line of a value, or of the closest value around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def problem(self, location: Location, message: str) -> Problem:
        """Return a problem of a value, with its line and field."""
        return Problem(self.line_of(location), field_path(location, root=self.root), message)


def parse_document(text: str, *, root: str = ROOT) -> Document:
    """Parse one YAML document of plain values and keep the line of each.

    Args:
        text: The document.
        root: What it is called as a whole in problems.
    """
    document = Document(root)
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            document.problems.append(Problem(1, root, "the file is empty"))
            return document
        _Walk(document, loader).visit(node, ())
        if not document.problems:
            document.data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        document.problems.append(Problem(line, root, f"not YAML: {_describe(error)}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        shown = f"the control character {chr(error.character)!r}; write it as an escape in quotes"
        document.problems.append(Problem(line, root, f"not YAML: it holds {shown}"))
    except RecursionError:
        # The loader has read up to this line.
        line = loader.line + 1 if loader else None
        document.problems.append(Problem(line, root, "it is nested too deeply"))
    except (yaml.YAMLError, *_UNREADABLE) as error:
        document.problems.append(Problem(None, root, f"not YAML: {error}"))
    return document


def _describe(error: yaml.MarkedYAMLError) -> str:
    if error.problem and "'\\t'" in error.problem:
        return "the line begins with a tab; indent it with spaces"
    return str(error.problem)


def _is_text(location: Location) -> bool:
    """Whether the field holds text, so that `007` stays text."""
    match location:
        case ("renditions", int(), "metadata", str()) | ("renditions", int(), "name"):
            return True
        case _:
            return location in {("name",), ("description",)}


class _Walk:
    """Records lines, and finds duplicate keys and keys without a value.

    YAML's own loader silently keeps the last of two equal keys.
    """

    def __init__(self, document: Document, loader: _Loader) -> None:
        self._document = document
        self._loader = loader
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
        elif isinstance(node, yaml.ScalarNode):
            self._join_halves(node, location)
            if node.style is None:
                self._visit_plain(node, location)
            self._read(node, location)

    def _join_halves(self, node: yaml.ScalarNode, location: Location) -> None:
        """Make one character of the two escapes in which JSON writes an emoji."""
        try:
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._refuse(
                node.start_mark.line + 1, location, "holds half of a character; write it out"
            )

    def _read(self, node: yaml.ScalarNode, location: Location) -> None:
        """Check that the value is what its tag says, such as `!!bool`."""
        try:
            self._loader.construct_object(node)
        except _UNREADABLE:
            kind = node.tag.removeprefix(_TAG)
            shown = node.value[:40]
            self._refuse(node.start_mark.line + 1, location, f"{shown!r} is no {kind}")

    def _visit_plain(self, node: yaml.ScalarNode, location: Location) -> None:
        if not node.value and location:
            self._refuse(
                node.start_mark.line + 1,
                location,
                "has no value; leave it out, or put a value that begins with # in quotes",
            )
        elif node.tag != f"{_TAG}null" and _is_text(location):
            node.tag = f"{_TAG}str"

    def _visit_mapping(self, node: yaml.MappingNode, location: Location) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                self._join_halves(key, location)
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if not name:
                self._refuse(line, location, "a key must be plain text")
                continue
            if name in seen:
                self._refuse(line, (*location, name), "is given twice; keep one")
                continue
            seen.add(name)
            self._document.lines[*location, name] = line
            self.visit(value, (*location, name))

    def _refuse(self, line: int, location: Location, message: str) -> None:
        field = field_path(location, root=self._document.root)
        self._document.problems.append(Problem(line, field, message))
