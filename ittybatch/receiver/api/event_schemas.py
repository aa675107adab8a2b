"""How OpenAPI describes the bodies of `POST /process`: a request, or an event as it is sent.

The schemas of events name what is read of them; their senders send more.
"""

from typing import Any

from ittybatch.receiver.api.models import ProcessRequest

_TEXT = {"type": "string"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
    }


def _event(title: str, required: dict[str, Any], optional: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - a JSON schema
    return {"title": title, **_object(required, optional)}


_OF_AN_OBJECT = {"size": {"type": "integer"}, "sequencer": _TEXT}
_EVENTBRIDGE = _event(
    "EventBridge's event of a bucket",
    {
        "source": {"const": "aws.s3"},
        "detail-type": _TEXT,
        "detail": _object(
            {
                "bucket": _object({"name": _TEXT}),
                "object": _object({"key": _TEXT}, {**_OF_AN_OBJECT, "etag": _TEXT}),
            }
        ),
    },
    {"time": _TEXT},
)
_RECORD = _object(
    {
        "eventName": _TEXT,
        "s3": _object(
            {
                "bucket": _object({"name": _TEXT}),
                "object": _object({"key": _TEXT}, {**_OF_AN_OBJECT, "eTag": _TEXT}),
            }
        ),
    },
    {"eventTime": _TEXT},
)
_NOTIFICATION = _event(
    "Notification of S3, MinIO and other stores", {"Records": {"type": "array", "items": _RECORD}}
)
_ENVELOPE = _event(
    "Either of them in an envelope of SNS", {"Type": {"const": "Notification"}, "Message": _TEXT}
)
_ROW = _event(
    "Supabase's database webhook",
    {
        "type": {"enum": ["INSERT", "UPDATE", "DELETE"]},
        "table": _TEXT,
        "record": {"type": ["object", "null"]},
    },
    {"schema": _TEXT},
)
_EXAMPLES: dict[str, Any] = {
    "A request": {"url": "https://example.com/uploads/video.mov", "profile": "web"},
    "An event of EventBridge": {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-11-27T10:00:00Z",
        "detail": {
            "bucket": {"name": "my-media-bucket"},
            "object": {
                "key": "uploads/video.mov",
                "size": 5242880,
                "etag": "b57f9512698f4b09e608f4f2a65852e5",
            },
        },
    },
    "A notification of S3": {
        "Records": [
            {
                "eventName": "ObjectCreated:Put",
                "eventTime": "2026-11-27T10:00:00.000Z",
                "s3": {
                    "bucket": {"name": "my-media-bucket"},
                    "object": {
                        "key": "uploads/video.mov",
                        "size": 5242880,
                        "eTag": "b57f9512698f4b09e608f4f2a65852e5",
                    },
                },
            }
        ]
    },
    "A new row": {
        "type": "INSERT",
        "table": "jobs",
        "schema": "public",
        "record": {"id": "9a1c", "input_url": "https://example.com/uploads/video.mov"},
    },
}


def process_body() -> dict[str, Any]:
    """The `requestBody` of `POST /process`."""
    request = {"$ref": f"#/components/schemas/{ProcessRequest.__name__}"}
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [request, _EVENTBRIDGE, _NOTIFICATION, _ENVELOPE, _ROW]},
                "examples": {name: {"value": value} for name, value in _EXAMPLES.items()},
            }
        },
    }
