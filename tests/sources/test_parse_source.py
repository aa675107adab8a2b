"""What a user's text means, and what the run form shows."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ittybatch.engine.options import BatchOptions
from ittybatch.profiles import Item, Profile
from ittybatch.sources import (
    BucketSource,
    FailedJobsSource,
    InventorySource,
    ManifestSource,
    QueueSource,
    Source,
    SourceError,
    SqlSource,
    parse_source,
)
from ittybatch.tasks import scan


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("s3://media", "s3://media/"),
        ("s3://media/", "s3://media/"),
        (" s3://media/uploads ", "s3://media/uploads/"),
        ("s3://media/été/a b/", "s3://media/été/a b/"),
    ],
)
def test_a_prefix_is_a_bucket(text: str, uri: str) -> None:
    """With the slash that a folder ends in."""
    assert parse_source(text) == BucketSource(uri=uri)


@pytest.mark.parametrize(
    "text",
    ["s3://media/lists/tonight.csv", "https://h/list.CSV?sig=a/b", "http://localhost:1/l.csv"],
)
def test_a_csv_is_a_manifest(text: str) -> None:
    """Wherever it lies."""
    assert parse_source(text) == ManifestSource(uri=text)


def test_a_path_is_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch may run in another folder."""
    monkeypatch.chdir(tmp_path)
    assert parse_source("lists/a.csv") == ManifestSource(uri=str(tmp_path / "lists" / "a.csv"))


@pytest.mark.parametrize(
    "text",
    [
        "", "media", "uploads/", "https://h/list.json?a=.csv", "s3://", "s3://me$dia/",
        "gs://media/", "ftp://h/list.csv", "s3://b.csv", "list.csv\x00.csv", "https://[/l.csv",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_would_do(text: str) -> None:
    """The message shows both forms."""
    with pytest.raises(SourceError, match=r"(?s)is not a source.*s3://bucket/prefix/.*\.csv, "):
        parse_source(text)


def test_a_refused_url_keeps_its_signature_to_itself() -> None:
    """Errors are printed and stored."""
    with pytest.raises(SourceError) as caught:
        parse_source("https://me:pw@h/list.json?sig=s3cr3t")
    assert "s3cr3t" not in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({"type": "bucket", "uri": "s3://media/"}, BucketSource),
        ({"type": "manifest", "uri": "/lists/a.csv"}, ManifestSource),
        ({"type": "failed", "batch": "b1", "states": ["failed"]}, FailedJobsSource),
    ],
)
def test_the_type_tells_the_sources_apart(fields: dict[str, Any], model: type) -> None:
    """And each survives being a flow's parameter."""
    adapter: TypeAdapter[Any] = TypeAdapter(Source)
    source = adapter.validate_python(fields)
    assert type(source) is model
    assert adapter.validate_json(adapter.dump_json(source)) == source


def test_an_unknown_type_is_refused() -> None:
    """With those that exist."""
    with pytest.raises(ValidationError, match=r"'bucket', 'manifest', .*'failed'"):
        TypeAdapter(Source).validate_python({"type": "ftp", "uri": "s3://media/"})


@pytest.mark.parametrize("text", ["inventory+s3://inv/a/manifest.json", "s3://inv/a/manifest.json"])
def test_a_manifest_json_is_an_inventory(text: str) -> None:
    """Nobody calls a folder so."""
    assert parse_source(text) == InventorySource(manifest_uri="s3://inv/a/manifest.json")


def test_a_database_and_a_queue_take_more_than_a_text() -> None:
    """The options of the command line."""
    query = {"query": "SELECT uri AS input FROM assets", "key": "id"}
    assert parse_source("sql:LIBRARY_URL", query) == SqlSource(
        database="LIBRARY_URL", query=query["query"], key="id"
    )
    url = "https://sqs.eu-west-1.amazonaws.com/1/uploads"
    found = parse_source(f"sqs+{url}", {"uri": "s3://media/in"})
    assert found == QueueSource(queue_url=url, uri="s3://media/in/")


@pytest.mark.parametrize(
    ("text", "fields", "name"),
    [
        ("sql:LIBRARY_URL", {}, "query"),
        ("sqs+https://sqs.eu-west-1.amazonaws.com/1/q", {}, "uri"),
        ("s3://media/", {"query": "SELECT 1"}, "query"),
        ("s3://media/", {"modified_since": "yesterday"}, "modified_since"),
        ("list.csv", {"suffixes": [".mov"]}, "suffixes"),
    ],
)
def test_what_does_not_go_with_a_source_is_named(
    text: str, fields: dict[str, Any], name: str
) -> None:
    """With where to read what does."""
    with pytest.raises(SourceError, match=rf"cannot be read: {name}: .*plan --help"):
        parse_source(text, fields)


SOURCES = [
    "s3://media/in/", "list.csv", "s3://media/list.csv", "inventory+s3://inv/a/manifest.json",
    "sql:LIBRARY_URL", "sqs+https://sqs.eu-west-1.amazonaws.com/1/q",
]  # fmt: skip


@pytest.mark.parametrize("text", SOURCES)
@pytest.mark.parametrize(
    "field", ["uri", "queue_url", "manifest_uri", "database", "dead_letter_url", "query", "include"]
)
def test_no_option_replaces_what_the_source_names(text: str, field: str) -> None:
    """Whatever is not the source's own is refused; nothing else is read in its place."""
    value: Any = ["hidden"] if field == "include" else "s3://other/in/"
    needed = {"sql:": {"query": "SELECT 1 AS input"}, "sqs+": {"uri": "s3://media/in/"}}
    given = {**needed.get(text[:4], {}), field: value}
    try:
        source = parse_source(text, given)
    except SourceError as error:
        assert field in str(error)  # noqa: PT017 - either of two is right
        return
    plain = parse_source(text, needed.get(text[:4], {}))
    assert source.model_dump() == plain.model_dump() | {
        field: tuple(value) if field == "include" else value
    }
    assert field in {"uri", "query", "include"}


def test_an_option_that_names_another_folder_is_refused_with_the_way_out() -> None:
    """It would scan, and pay for, another bucket than the one that was typed."""
    with pytest.raises(SourceError, match=r"--under would replace a part of 's3://a/in/'"):
        parse_source("s3://a/in/", {"uri": "s3://b/in/"}, {"uri": "--under"})


@pytest.mark.parametrize("name", ["my_media", "MyMedia", "Old.Bucket_2009", "x" * 64])
def test_a_bucket_is_whatever_the_stores_clients_accept(name: str) -> None:
    """Older buckets of us-east-1, Google Cloud Storage and Ceph have such names."""
    assert parse_source(f"s3://{name}/in") == BucketSource(uri=f"s3://{name}/in/")
    assert BatchOptions(report_to=f"s3://{name}/reports/").report_to
    profile = Profile.from_mapping(
        {
            "name": "p",
            "renditions": [
                {
                    "name": "sd",
                    "kind": "video",
                    "options": {"format": "mp4"},
                    "destination": "s3://{bucket}/out/{key}.{ext}",
                }
            ],
        }
    )
    (job,) = profile.jobs_for(Item(f"s3://{name}/in/a.mov"))
    assert job.destination == f"s3://{name}/out/in/a.mov.mp4"


@pytest.mark.parametrize("suffixes", [["*.mov"], [".mov,.mp4"], ["MOV", " .mp4 "], ["*.mov, mp4"]])
def test_suffixes_are_understood_as_people_write_them(suffixes: list[str]) -> None:
    """None of them silently finds nothing."""
    source = BucketSource(uri="s3://media/", suffixes=tuple(suffixes))
    assert set(source.suffixes) <= {".mov", ".mp4"}
    assert ".mov" in source.suffixes


@pytest.mark.parametrize(
    "model",
    [BucketSource, ManifestSource, InventorySource, SqlSource, QueueSource, FailedJobsSource],
)
def test_every_field_of_the_form_is_explained(model: type[BucketSource]) -> None:
    """Prefect shows the titles and descriptions as they are."""
    schema = model.model_json_schema()
    assert schema["title"]
    assert schema["title"] != model.__name__
    for field in schema["properties"].values():
        assert field["title"]
        assert field["description"]


@pytest.mark.parametrize(
    "source",
    [
        {"type": "bucket", "uri": "https://u:hunter2@host/x/"},
        {"type": "bucket", "uri": "s3://media/", "more_uris": ["s3://u:hunter2@media/"]},
        {"type": "manifest", "uri": "https://u:hunter2@host/x.csv"},
        {"type": "inventory", "manifest_uri": "s3://u:hunter2@inv/manifest.json"},
        {"type": "queue", "queue_url": "https://u:hunter2@host/q", "uri": "s3://media/"},
        {"type": "sql", "database": "postgresql://u:hunter2@h/db", "query": "SELECT 1 AS input"},
    ],
    ids=lambda source: f"{source['type']}-{len(source)}",
)
def test_a_refused_source_repeats_no_password(source: dict[str, Any]) -> None:
    """Errors are logged and shown; whoever made them knows what they wrote."""
    with pytest.raises(ValidationError) as caught:
        scan._SOURCE.validate_python(source)
    assert "hunter2" not in str(caught.value)
    fields = {name: value for name, value in source.items() if name != "type"}
    kinds = (BucketSource, ManifestSource, InventorySource, QueueSource, SqlSource)
    kind = next(each for each in kinds if each.model_fields["type"].default == source["type"])
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(fields)
    assert "hunter2" not in str(caught.value)
