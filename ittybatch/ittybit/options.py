"""Checks the options of a job before anything is paid for, and spells them one way.

A job is known by the hash of its options, so `1280`, `"1280"` and `1280.0` must be one width.
"""

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

_LONGEST_SHOWN = 60
_NOT_SET = "(not set)"
_SIDE = 'Use a number of pixels such as 1280, or a percentage such as "50%".'
_TIME = "Use a time in seconds such as 2.5, or as 90s, 1m30s, 1:30 or 00:01:30."
_REMEDIES = {
    "background": "Use a hex colour, such as #000000.",
    "bitrate": "Use bits a second as a number: video 300000 to 60000000, audio 32000 to 320000.",
    "connection_id": "Use the id of a connection, such as conn_abc123.",
    "end": _TIME,
    "fps": "Use 1 to 60 frames a second.",
    "height": _SIDE,
    "position": "Use a word such as center, top, bottom, left or right.",
    "start": _TIME,
    "width": _SIDE,
}


class Kind(StrEnum):
    """The kinds of job that Ittybit does."""

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
    """One thing wrong with one option, and what to do about it."""

    field: str
    value: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value}: {self.problem} {self.remedy}"


class InvalidOptions(IttybatchError):
    """Options that Ittybit would refuse, or that contradict each other.

    Args:
        kind: The kind of job they were meant for.
        problems: Every problem; at least one.
    """

    def __init__(self, kind: str, problems: tuple[OptionProblem, ...]) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"These options of a job of kind {kind} cannot be used:\n{listed}")
        self.kind = kind
        self.problems = problems

    def __reduce__(self) -> tuple[type["InvalidOptions"], tuple[str, tuple[OptionProblem, ...]]]:
        return (InvalidOptions, (self.kind, self.problems))


def canonical_options(kind: Kind | str, options: Mapping[str, Any]) -> dict[str, object]:
    """Check options, and spell them the one way that hashes and requests use.

    Args:
        kind: The kind of job.
        options: As a user wrote them; None counts as not set.

    Returns:
        What was set and nothing else, sorted by name. The one exception: `fit` is `fill` where
        both `width` and `height` are set without it, since Ittybit's pages disagree about the
        default, and `fill` is the one that they write down.

    Raises:
        InvalidOptions: With every problem, each with its field, value and remedy.
    """
    known = _known(kind)
    model = MODELS[known]
    given = {str(name): value for name, value in options.items() if value is not None}
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
            "kind", _shown({"kind": kind}, "kind"), "There is no such kind.", _choices(*Kind)
        )
        raise InvalidOptions("unknown", (problem,)) from None


def _sound(model: type[Options], given: dict[str, Any]) -> tuple[list[OptionProblem], Options]:
    """What is wrong option by option, and the options that are right by themselves."""
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
    """One problem a field, though a union reports one for each of its members."""
    seen: set[str] = set()
    for detail in error.errors(include_url=False, include_input=False):
        field = str(detail["loc"][0])
        if field in seen:
            continue
        seen.add(field)
        expected = detail.get("ctx", {}).get("expected")
        if detail["type"] == "extra_forbidden":
            problem = "There is no such option for this kind."
            remedy = _choices(*sorted(model.model_fields))
        elif expected:
            problem, remedy = f"There is no such {field}.", f"Use {expected}."
        else:
            problem = detail["msg"].replace("Input should", "It should").rstrip(".") + "."
            remedy = _REMEDIES[field]
        yield OptionProblem(field, _shown(given, field), problem, remedy)


def _shown(given: Mapping[str, Any], field: str) -> str:
    if field not in given:
        return _NOT_SET
    try:
        shown = redacted(repr(given[field])[: _LONGEST_SHOWN * 2])
    except (ValueError, RecursionError):  # a number of thousands of digits, or endless nesting
        return "(too large to show)"
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def _choices(*words: str) -> str:
    return f"Use one of: {', '.join(words)}."
