"""The form that tunes a batch: the fields of `Tuning`, read and checked field by field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from ittybatch.engine.options import BatchOptions, Priority
from ittybatch.engine.tuning import Tuning
from ittybatch.page.forms import Form, words_of

_BEFORE = "was_"
_NO_LIMIT = "no limit"


@dataclass(frozen=True, slots=True)
class TuningField:
    """A field of the form.

    Args:
        name: The option's name.
        title: Its label.
        hint: What it does.
        value: What the field holds.
        before: The option's value when the form was shown.
        choices: The values to choose from; none for a number.
        step: The step of a number.
        error: Why the value cannot be used.
    """

    name: str
    title: str
    hint: str
    value: str
    before: str
    choices: Sequence[str] = ()
    step: str = "1"
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """A form as it was sent.

    Args:
        changes: The options that the user has changed; None if a field cannot be used.
        fields: The fields to show again, with their errors.
        already: What the user has changed to a value that it has by now, as `Title: value`: the
            form was sent twice, or somebody else was faster.
    """

    changes: Tuning | None
    fields: Sequence[TuningField]
    already: Sequence[str] = ()


def tuning_fields(
    options: Mapping[str, Any],
    given: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> list[TuningField]:
    """The fields of the form.

    Args:
        options: The batch's options.
        given: What the user has entered, by name; None shows the options' values.
        errors: Why a value cannot be used, by name.
    """
    current = BatchOptions.model_validate(dict(options))
    fields = []
    for name, field in Tuning.model_fields.items():
        before = _shown(getattr(current, name))
        fields.append(
            TuningField(
                name,
                field.title or name,
                field.description or "",
                before if given is None else given.get(name, ""),
                before,
                choices=get_args(Priority) if name == "priority" else (),
                step="any" if name == "submit_per_s" else "1",
                error=(errors or {}).get(name),
            )
        )
    return fields


def read_tuning(form: Form, options: Mapping[str, Any]) -> Tuned:
    """Read a sent form.

    Only fields that the user has changed count, so a form that is older than another user's change
    does not undo it.

    Args:
        form: The form.
        options: The batch's options now.
    """
    given = {name: form.text(name) for name in Tuning.model_fields}
    now = tuning_fields(options)
    current = {field.name: field.before for field in now}
    before = {name: form.text(_BEFORE + name) for name in given}
    entered = {name: value for name, value in given.items() if value != before[name]}
    changed = {
        name: value for name, value in entered.items() if not _means(name, value, current[name])
    }
    already = [
        f"{field.title}: {field.before or _NO_LIMIT}"
        for field in now
        if field.name in entered.keys() - changed.keys()
    ]
    errors = {
        name: f"Somebody else has changed it meanwhile, to {current[name] or _NO_LIMIT}."
        for name in changed
        if before[name] != current[name]
    }
    values: dict[str, Any] = {}
    for name, value in changed.items():
        if value:
            values[name] = value
        elif name == "submit_per_s":
            values[name] = 0  # no limit
        else:
            errors.setdefault(name, "It can be changed, but not removed. Enter a number.")
    try:
        changes = Tuning.model_validate(values)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            errors.setdefault(str(each["loc"][0]), words_of(each))
        changes = None
    if errors:
        return Tuned(None, tuning_fields(options, given, errors))
    return Tuned(changes, tuning_fields(options, given), already)


def _means(name: str, value: str, shown: str) -> bool:
    """Whether an entered value is the one that is shown so: `200.0` is 200, and 0 no limit."""
    if value == shown:
        return True
    try:
        entered = getattr(Tuning.model_validate({name: value}), name)
    except ValidationError:
        return False
    return ("" if entered == 0 else _shown(entered)) == shown


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
