"""Supabase's database webhooks: a new row is a request, any other change is not."""

from typing import Any

import pytest

from ittybatch.intake.declared import Declared
from ittybatch.intake.events import is_event, wanted_of
from ittybatch.intake.wanted import RequestRefused

DECLARED = Declared.model_validate(
    {
        "tables": [
            {"table": "jobs", "tasks": [{"kind": "video", "options": {"width": 1280}}]},
            {
                "table": "clips",
                "schema": "app",
                "url_column": "link",
                "id_column": "uid",
                "profile": "web",
                "buckets": ["media"],
            },
        ]
    }
)
RECORD = {
    "id": "9a3c2f34-8f5e-4b5a-9a63-0d3c1e1f2a10",
    "input_url": "https://example.com/uploads/video.mp4",
    "task_id": None,
    "status": "pending",
}


def webhook(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    return {
        "type": "INSERT",
        "table": "jobs",
        "schema": "public",
        "record": RECORD,
        "old_record": None,
        **changes,
    }


def test_a_new_row_is_a_request() -> None:
    """The row's id is the metadata that the guide's callback looks for."""
    assert is_event(webhook())
    [wanted] = wanted_of(webhook(), DECLARED).wanted
    assert wanted.item.uri == "https://example.com/uploads/video.mp4"
    assert wanted.metadata == {"job_id": "9a3c2f34-8f5e-4b5a-9a63-0d3c1e1f2a10"}
    assert [(each.kind, each.options) for each in wanted.tasks] == [("video", {"width": 1280})]


def test_columns_and_schema_are_declared() -> None:
    body = webhook(table="clips", schema="app", record={"uid": 7, "link": "s3://media/a.mov"})
    [wanted] = wanted_of(body, DECLARED).wanted
    assert (wanted.item.uri, wanted.profile) == ("s3://media/a.mov", "web")
    assert wanted.metadata == {"job_id": "7"}


@pytest.mark.parametrize(
    ("body", "bucket"),
    [
        (webhook(record={**RECORD, "input_url": " s3://private-bucket/a.mov"}), "private-bucket"),
        (
            webhook(table="clips", schema="app", record={"uid": 7, "link": "s3://media-2/a.mov"}),
            "media-2",
        ),
    ],
)
def test_a_row_names_objects_of_declared_buckets_only(body: dict[str, Any], bucket: str) -> None:
    """End users write rows, and would read any bucket that Ittybit's connection may read."""
    with pytest.raises(RequestRefused, match=f"objects of the bucket {bucket}") as refused:
        wanted_of(body, DECLARED)
    assert refused.value.status == 422
    assert refused.value.remedy is not None
    assert f"`buckets: [{bucket}]`" in refused.value.remedy


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"type": "UPDATE", "old_record": RECORD}, "other event"),
        ({"type": "DELETE", "record": None, "old_record": RECORD}, "other event"),
        ({"table": "others"}, "undeclared"),
        ({"schema": "app"}, "undeclared"),
        ({"record": {**RECORD, "input_url": None}}, "no url"),
        ({"record": {**RECORD, "input_url": ""}}, "no url"),
    ],
)
def test_what_is_left_out_is_counted(changes: dict[str, Any], rule: str) -> None:
    """An update of the row by a sink must not start it again."""
    result = wanted_of(webhook(**changes), DECLARED)
    assert (list(result.wanted), dict(result.left_out), list(result.unreadable)) == (
        [],
        {rule: 1},
        [],
    )


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"id": 1}, "has no `record.input_url`; in intake.yaml, set `url_column` of table jobs"),
        ({"input_url": "https://a.test/a"}, "has no `record.id`; in intake.yaml, set `id_column`"),
        ({"id": 1, "input_url": 7}, "has no text in `record.input_url`"),
        ({"id": True, "input_url": "https://a.test/a"}, "in `record.id`"),
        ({"id": [], "input_url": "https://a.test/a"}, "in `record.id`"),
        (None, "has no object in `record`"),
    ],
)
def test_a_row_that_does_not_fit_its_declaration(record: object, why: str) -> None:
    [reason] = wanted_of(webhook(record=record), DECLARED).unreadable
    assert why in reason
