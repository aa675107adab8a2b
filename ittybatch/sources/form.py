"""JSON schemas of models that Prefect's run form shows well: in order, without "None" choices."""

from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

Schema = dict[str, Any]


# Prefect's form opens the tab that shares most field names with the value, the first one of
# equals. A field with a default is in the value from the start. So each source has this on its
# required fields, and a default on a field that no other source has.
BEGINS_EMPTY: dict[str, Any] = {"default": ""}


def as_form(schema: Schema) -> None:
    """Change a model's JSON schema for Prefect's form; pass it as `json_schema_extra`.

    The form orders fields by `position`, because Prefect's database does not keep their order.
    Required fields come first, constants last. An optional field loses its choice of "None": the
    form does not send an empty field at all.
    """
    fields = schema["properties"]
    needed = schema.get("required", [])
    # Otherwise the fields of a base class would come before the required ones.
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
    # Prefect's API accepts None for an optional field without a default in its schema.
    if field.get("default") is None:
        field.pop("default", None)
    del field["anyOf"]
    if len(real) == 1:
        field.update({key: value for key, value in real[0].items() if key not in field})
    else:
        field["anyOf"] = real


class Tabs:
    """Marks a union whose members become tabs of the form.

    The form shows tabs for `anyOf`, but a JSON field for the `oneOf` with a discriminator that
    pydantic writes.
    """

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Schema:
        schema: Schema = handler(core_schema)
        if "oneOf" in schema:
            schema["anyOf"] = schema.pop("oneOf")
        schema.pop("discriminator", None)
        return schema
