"""Payloads in every dialect that Ittybit's API and webhooks have been seen to speak."""

from datetime import UTC, datetime
from typing import Any

FLAT: dict[str, Any] = {
    "id": "task_a1b2c3d4",
    "status": "succeeded",
    "kind": "video",
    "input": "https://clippable-app.com/projects/edit-38271.mov",
    "output": {
        "url": "https://cdn.ittybit.com/clippable/export-38271.mp4",
        "format": "mp4",
        "width": 1920,
        "height": 1080,
        "duration": 124.5,
        "size": 48230912,
    },
    "metadata": {},
    "created_at": 1775212200000,
    "completed_at": 1775212274000,
}

ENVELOPE: dict[str, Any] = {
    "event": "job.succeeded",
    "data": {
        "id": "task_abc123",
        "status": "completed",
        "kind": "video",
        "input": "s3://my-media-bucket/uploads/video.mov",
        "output": {"url": "https://cdn.ittybit.com/abc/video.mp4"},
        "duration_ms": 4820,
        "metadata": {
            "source_bucket": "my-media-bucket",
            "source_key": "uploads/video.mov",
        },
        "created_at": 1775210400000,
        "completed_at": 1775210404000,
    },
}

GET_JOB: dict[str, Any] = {
    "id": "job_abc123",
    "object": "job",
    "kind": "video",
    "input": "https://example.com/video.mp4",
    "output": "https://store.ittybit.net/org_123/video.mp4",
    "options": {"format": "mp4", "quality": "high"},
    "metadata": {},
    "status": "succeeded",
    "error": None,
    "tasks": [
        {
            "id": "task_001",
            "object": "task",
            "kind": "probe",
            "input": {"object": "external_file", "url": "https://example.com/video.mp4"},
            "options": {},
            "output": {
                "object": "file",
                "kind": "video",
                "url": "...",
                "format": "mp4",
                "width": 1920,
                "height": 1080,
                "duration": 62.5,
            },
            "status": "succeeded",
            "progress": None,
            "error": None,
            "created_at": 1711900000000,
            "started_at": 1711900001000,
            "finished_at": 1711900005000,
            "updated_at": 1711900005000,
        }
    ],
    "created_at": 1711900000000,
    "started_at": 1711900001000,
    "finished_at": 1711900045000,
    "updated_at": 1711900045000,
}

CREATE_TASK: dict[str, Any] = {
    "id": "task_002",
    "object": "task",
    "kind": "video",
    "input": {"object": "external_file", "url": "https://example.com/video.mp4"},
    "output": None,
    "status": "waiting",
    "progress": None,
    "error": None,
    "created_at": 1711900000000,
    "started_at": None,
    "finished_at": None,
}

EVENT: dict[str, Any] = {
    "id": "evt_01h455",
    "object": "event",
    "kind": "task.succeeded",
    "data": {
        "id": "task_01h455",
        "object": "task",
        "kind": "video",
        "status": "succeeded",
        "run_id": "run_1",
        "inputs": [{"url": "https://example.com/a.mov"}],
        "outputs": [
            {"url": "https://cdn.ittybit.com/proj_1/a.mp4", "format": "mp4"},
            {"url": "https://cdn.ittybit.com/proj_1/b.webm", "format": "webm"},
        ],
        "metadata": {"media_id": "42"},
        "error": None,
        "created_at": 1735689000,
        "started_at": 1735689001,
        "finished_at": 1735689800,
    },
    "created_at": 1735689886,
}

LEGACY_TASK: dict[str, Any] = {
    "id": "task_123abc",
    "object": "task",
    "kind": "nsfw",
    "status": "completed",
    "results": {"safe": True},
    "project_id": "proj_1",
    "automation_id": "auto_1",
    "created": "2025-08-20T10:00:00Z",
    "completed": "2025-08-20T10:00:05.250Z",
}

FILE: dict[str, Any] = {
    "id": "file_123abc",
    "object": "file",
    "kind": "video",
    "type": "video/mp4",
    "url": "https://cdn.ittybit.com/proj_1/file_123abc.mp4",
    "format": "mp4",
    "width": 1280,
    "height": 720,
    "duration": 12,
    "filesize": 1234,
    "status": "ready",
    "created": "2025-08-20T10:00:00+02:00",
}

FIRST_GENERATION: dict[str, Any] = {
    "meta": {"request_id": "req_1"},
    "data": {
        "id": "tsk_123",
        "kind": "video",
        "status": "error",
        "error": {"message": "Could not decode the input"},
    },
    "error": None,
    "links": {},
}


def utc(  # noqa: PLR0917 - as datetime takes them
    year: int, month: int, day: int, hour: int, minute: int = 0, second: int = 0, micros: int = 0
) -> datetime:
    return datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
