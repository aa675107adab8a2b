"""Read the YAML files that people write, and name the line and field of each problem."""

from ittybatch.yaml_files.document import Document, parse_document
from ittybatch.yaml_files.problems import (
    ROOT,
    Location,
    Problem,
    field_path,
    in_order,
    list_problems,
)
from ittybatch.yaml_files.reading import UnreadableFile, read_text

__all__ = [
    "ROOT",
    "Document",
    "Location",
    "Problem",
    "UnreadableFile",
    "field_path",
    "in_order",
    "list_problems",
    "parse_document",
    "read_text",
]
