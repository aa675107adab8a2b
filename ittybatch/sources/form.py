"""Models as Prefect's run form shows them: in order, without switches between text and None."""

from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

Schema = dict[str, Any]


# Prefect's form shows the tab that shares most field names with the value, the first of equals.
# A field that begins empty is in the value until it is written in and emptied again. So a source
# has this on what is needed, and a default on something else that no other source has.
BEGINS_EMPTY: dict[str, Any] = {"default": ""}


def as_form(schema: Schema) -> None:
    """Make a model's JSON schema one that gives a plain form; for `json_schema_extra`.

    Fields keep the order they are written in, those that are needed first. Prefect's database
    does not: its form goes by `position`; what cannot be changed comes last. A field that may be
    None is shown as the field it is when it is not: left empty it is not sent at all, so it need
    not be a choice of "str" and "None".
    """
    fields = schema["properties"]
    needed = schema.get("required", [])
    # What several sources share would else come before what each of them needs.
    order = sorted(fields, key=lambda name: name not in needed)
    for position, name in enumerate(order):
        field = fields[name]
        field["position"] = position if "const" not in field else len(fields)
        _drop_null(field)


def _drop_null(field: Schema) -> None:
    options = field.get("anyOf", [])
    real = [option for option in options if option.get("type") != "null"]
    if len(real) == len(options):
        return
    # Prefect's API takes None for a field that is not required and has no default in its schema.
    if field.get("default") is None:
        field.pop("default", None)
    del field["anyOf"]
    if len(real) == 1:
        field.update({key: value for key, value in real[0].items() if key not in field})
    else:
        field["anyOf"] = real


class Tabs:
    """Marks a union whose members become tabs of the form.

    The form knows `anyOf`; of `oneOf` with a discriminator, which pydantic writes, it makes a
    field for JSON.
    """

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Schema:
        schema: Schema = handler(core_schema)
        if "oneOf" in schema:
            schema["anyOf"] = schema.pop("oneOf")
        schema.pop("discriminator", None)
        return schema
