"""Validates the options of a job before anything is paid for, and normalises them.

The hash of the options identifies a job, so `1280`, `"1280"` and `1280.0` must be the same width.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import redacted
from ittybatch.ittybit.renditions import (
    AdaptiveVideoOptions,
    AnimationOptions,
    AudioOptions,
    ImageOptions,
    Options,
    VideoOptions,
)

_MAX_SHOWN = 60
# JSON can write half of a character as an escape. It is not text, and pydantic cannot read it.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_NOT_SET = "(not set)"
_SIDE = 'Use a number of pixels like 1280, or a percentage like "50%".'
_TIME = "Use a time in seconds like 2.5, or 90s, 1m30s, 1:30 or 00:01:30."
_REMEDIES = {
    "background": "Use a hex colour like #000000.",
    "bitrate": "Use bits a second as a number: video 300000 to 60000000, audio 32000 to 320000.",
    "connection_id": "Use the id of a connection like conn_abc123.",
    "end": _TIME,
    "fps": "Use 1 to 60 frames a second.",
    "height": _SIDE,
    "position": "Use a word like center, top, bottom, left or right.",
    "start": _TIME,
    "width": _SIDE,
}


class Kind(StrEnum):
    """The kinds of job that Ittybit offers."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"
    ANIMATION = "animation"
    ADAPTIVE_VIDEO = "adaptive_video"


MODELS: Mapping[Kind, type[Options]] = {
    Kind.VIDEO: VideoOptions,
    Kind.AUDIO: AudioOptions,
    Kind.IMAGE: ImageOptions,
    Kind.ANIMATION: AnimationOptions,
    Kind.ADAPTIVE_VIDEO: AdaptiveVideoOptions,
}


@dataclass(frozen=True, slots=True)
class OptionProblem:
    """One problem of one option, and its remedy."""

    field: str
    value: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value}: {self.problem} {self.remedy}"


class InvalidOptions(IttybatchError):
    """The options contradict each other, or Ittybit would refuse them.

    Args:
        kind: The kind of job.
        problems: All problems; at least one.
    """

    def __init__(self, kind: str, problems: tuple[OptionProblem, ...]) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"These options of a job of kind {kind} cannot be used:\n{listed}")
        self.kind = kind
        self.problems = problems

    def __reduce__(self) -> tuple[type["InvalidOptions"], tuple[str, tuple[OptionProblem, ...]]]:
        return (InvalidOptions, (self.kind, self.problems))


def canonical_options(kind: Kind | str, options: Mapping[str, Any]) -> dict[str, object]:
    """Validate options and return the form that hashes and requests use.

    Args:
        kind: The kind of job.
        options: As the user wrote them; None means not set.

    Returns:
        The options that were set, sorted by name. One addition: with `width` and `height` but
        no `fit`, `fit` is `fill`, the default that Ittybit's reference documents; other pages
        of Ittybit disagree.

    Raises:
        InvalidOptions: It lists every problem with its field, value and remedy.
    """
    known = _known(kind)
    model = MODELS[known]
    given = {str(name): value for name, value in options.items() if value is not None}
    if halves := [
        OptionProblem(
            _escaped(name), _shown(given, name), "Half of a character is not text.", "Write it out."
        )
        for name, value in given.items()
        if _has_half(name) or _has_half(value)
    ]:
        raise InvalidOptions(known, tuple(halves))
    problems, sound = _sound(model, given)
    broken = {problem.field for problem in problems}
    problems += [
        OptionProblem(
            conflict.field, _shown(given, conflict.field), conflict.problem, conflict.remedy
        )
        for conflict in sound.conflicts()
        if broken.isdisjoint(conflict.involved)
    ]
    if problems:
        raise InvalidOptions(known, tuple(problems))
    return sound.canonical()


def _known(kind: str) -> Kind:
    try:
        return Kind(kind)
    except ValueError:
        problem = OptionProblem(
            "kind",
            _shown({"kind": kind}, "kind"),
            "Ittybit has no kind of this name.",
            _choices(*Kind),
        )
        raise InvalidOptions("unknown", (problem,)) from None


def _has_half(value: object) -> bool:
    return isinstance(value, str) and _HALF_CHARACTER.search(value) is not None


def _escaped(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _sound(model: type[Options], given: dict[str, Any]) -> tuple[list[OptionProblem], Options]:
    """The problems of single options, and the options that are valid on their own."""
    try:
        return [], model.model_validate(given)
    except ValidationError as error:
        problems = list(_problems(error, model, given))
    broken = {problem.field for problem in problems}
    rest = {name: value for name, value in given.items() if name not in broken}
    return problems, model.model_validate(rest)


def _problems(
    error: ValidationError, model: type[Options], given: dict[str, Any]
) -> Iterator[OptionProblem]:
    """One problem per field, though pydantic reports one for each member of a union."""
    seen: set[str] = set()
    for detail in error.errors(include_url=False, include_input=False):
        field = str(detail["loc"][0]) if detail["loc"] else "options"
        if field in seen:
            continue
        seen.add(field)
        expected = detail.get("ctx", {}).get("expected")
        if detail["type"] == "extra_forbidden":
            problem = "This kind has no option of this name."
            remedy = _choices(*sorted(model.model_fields))
        elif expected:
            problem, remedy = f"This is not a valid {field}.", f"Use {expected}."
        else:
            problem = detail["msg"].replace("Input should", "It should").rstrip(".") + "."
            remedy = _REMEDIES.get(field, "Check it.")
        yield OptionProblem(field, _shown(given, field), problem, remedy)


def _shown(given: Mapping[str, Any], field: str) -> str:
    if field not in given:
        return _NOT_SET
    try:
        shown = redacted(repr(given[field])[: _MAX_SHOWN * 2])
    except (ValueError, RecursionError):  # a number of thousands of digits, or deep nesting
        return "(too large to show)"
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."


def _choices(*words: str) -> str:
    return f"Use one of: {', '.join(words)}."
