"""What `POST /process` makes of a body, before the ledger is asked."""

from typing import Any

import pytest

from ittybatch.intake.wanted import RequestRefused, TaskSpec
from ittybatch.receiver.api.models import MAX_METADATA_BYTES, MAX_TASKS
from ittybatch.receiver.api.requests import parse_object, wanted_of

URL = "https://example.com/uploads/video.mov"


def refused(content: dict[str, Any]) -> RequestRefused:
    with pytest.raises(RequestRefused) as error:
        wanted_of(content, None)
    assert error.value.status == 422
    assert error.value.remedy
    return error.value


@pytest.mark.parametrize("name", ["url", "input", "input_url"])
def test_an_upload_may_be_named_as_any_of_the_guides_names_it(name: str) -> None:
    """`url` in one guide, `input` in Ittybit's own API, `input_url` in a table."""
    assert wanted_of({name: URL, "kind": "video"}, None).item.uri == URL


def test_a_request_without_a_kind_asks_for_video() -> None:
    """As the guide's own server does."""
    assert wanted_of({"url": URL}, None).tasks == (TaskSpec("video", {}),)


def test_one_job_has_its_kind_and_options() -> None:
    """As they were sent: the intake checks them."""
    options = {"width": 1280, "format": "mp4", "quality": "high"}
    wanted = wanted_of({"url": URL, "kind": "video", "options": options}, None)
    assert wanted.tasks == (TaskSpec("video", options),)
    assert (wanted.profile, wanted.again, wanted.idempotency_key) == (None, False, None)


def test_several_tasks_are_several_jobs_in_their_order() -> None:
    """Each with its own options."""
    tasks = [
        {"kind": "video", "options": {"width": 1920}},
        {"kind": "image", "options": {"width": 640, "format": "webp"}},
        {"kind": "audio"},
    ]
    assert wanted_of({"url": URL, "tasks": tasks}, None).tasks == (
        TaskSpec("video", {"width": 1920}),
        TaskSpec("image", {"width": 640, "format": "webp"}),
        TaskSpec("audio", {}),
    )


def test_a_profile_says_what_to_make() -> None:
    """The request has no task then."""
    wanted = wanted_of({"url": URL, "profile": "web", "again": True}, None)
    assert (wanted.profile, wanted.tasks, wanted.again) == ("web", (), True)


def test_metadata_arrives_as_given() -> None:
    """Numbers stay numbers."""
    metadata = {"media_id": 7, "tags": ["a", "b"], "who": None}
    assert wanted_of({"url": URL, "metadata": metadata}, None).metadata == metadata


def test_the_order_of_the_fields_does_not_make_another_request() -> None:
    """A repeat under the same key may be serialised anew."""
    one = wanted_of({"url": URL, "kind": "video"}, "key")
    same = wanted_of({"kind": "video", "url": URL}, "key")
    other = wanted_of({"kind": "audio", "url": URL}, "key")
    assert one.body_digest == same.body_digest != other.body_digest
    assert len(one.body_digest) == 64


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({}, "url"),
        ({"url": None}, "url"),
        ({"url": ""}, "url"),
        ({"url": 7}, "url"),
        ({"url": "https://example.com/" + "x" * 9000}, "url"),
        ({"url": URL, "input": URL}, "input"),
        ({"url": URL, "kind": 7}, "kind"),
        ({"url": URL, "kind": "video", "profile": "web"}, "profile"),
        ({"url": URL, "kind": "video", "tasks": [{"kind": "audio"}]}, "tasks"),
        ({"url": URL, "tasks": [{"kind": "audio"}], "profile": "web"}, "profile"),
        ({"url": URL, "profile": "web", "options": {}}, "options"),
        ({"url": URL, "tasks": [{"kind": "audio"}], "options": {}}, "options"),
        ({"url": URL, "tasks": []}, "tasks"),
        ({"url": URL, "tasks": [{}] * (MAX_TASKS + 1)}, "tasks"),
        ({"url": URL, "tasks": [{"kind": "video"}, {"kynd": "x"}]}, "tasks[1].kynd"),
        ({"url": URL, "tasks": [{"kind": "video", "options": 1}]}, "tasks[0].options"),
        ({"url": URL, "options": "width=1"}, "options"),
        ({"url": URL, "metadata": [1]}, "metadata"),
        ({"url": URL, "metadata": {"a": "x" * MAX_METADATA_BYTES}}, "metadata"),
        ({"url": URL, "again": "yes"}, "again"),
        ({"url": URL, "quality": "high"}, "quality"),
        ({"url": URL, "webhook_url": "https://example.com/hook"}, "webhook_url"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_taken_is_refused_with_its_field(
    content: dict[str, Any], field: str
) -> None:
    """And with what to do instead."""
    assert refused(content).field == field


def test_the_remedy_for_options_beside_a_profile_is_not_refused_itself() -> None:
    """`kind` beside `profile` would be refused next, so `kind` has to replace it."""
    content: dict[str, Any] = {"url": URL, "profile": "web", "options": {"width": 1280}}
    assert refused(content).remedy == "Remove them, or send `kind` instead of `profile`."
    del content["profile"]
    assert wanted_of({**content, "kind": "image"}, None).tasks[0].kind == "image"


def test_an_unknown_field_is_answered_with_the_known_ones() -> None:
    """A typing error is found at once."""
    assert "metadata" in str(refused({"url": URL, "metdata": {}}).remedy)
    assert "kind, options" in str(refused({"url": URL, "tasks": [{"width": 1}]}).remedy)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"text"', b"NaN", b'{"a": Infinity}', b"\xff\xfe", b"[" * 5000],
    ids=["empty", "cut", "list", "text", "nan", "infinity", "not utf-8", "endless"],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    """The answer shows what to send."""
    with pytest.raises(RequestRefused) as error:
        parse_object(body)
    assert (error.value.status, error.value.field) == (422, "body")
    assert '"url"' in str(error.value.remedy)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"metadata": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}", "nested"),
        (b'{"metadata": {"a": "x\\u0000"}}', "NUL"),
        (b'{"metadata": {"\\\\\\u0000": 1}}', "NUL"),
    ],
    ids=["deep", "nul", "nul in a name"],
)
def test_a_body_that_the_ledger_could_not_hold_is_refused(body: bytes, message: str) -> None:
    """Before it fails in the database, together with the requests of others."""
    with pytest.raises(RequestRefused, match=message):
        parse_object(body)


def test_a_backslash_is_no_nul() -> None:
    """A text may speak of the character."""
    assert parse_object(b'{"a": "\\\\u0000"}') == {"a": r"\u0000"}
