"""intake.yaml: every problem with its line, field and remedy, before anything is taken."""

from pathlib import Path

import pytest

from ittybatch.engine.options import RunOptions
from ittybatch.intake.declaration import DeclarationError, load_declared
from ittybatch.intake.declared import Declared
from ittybatch.project import CHECKOUT, INTAKE_FILE, PROFILES_DIR

WEB = """
renditions:
  - {name: small, kind: video, options: {format: mp4, width: 640}}
"""
TO_OUTPUTS = """
renditions:
  - name: small
    kind: video
    options: {format: mp4, width: 640}
    destination: "s3://media/outputs/{key}.mp4"
"""
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads"


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    """A folder with three profiles, one of them not usable."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "web.yaml").write_text(WEB)
    (folder / "outputs.yaml").write_text(TO_OUTPUTS)
    (folder / "broken.yaml").write_text("renditions: []")
    return folder


def load(profiles: Path, text: str) -> Declared:
    path = profiles.parent / "intake.yaml"
    path.write_text(text, encoding="utf-8")
    return load_declared(path, profiles)


def problems(profiles: Path, text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(DeclarationError) as caught:
        load(profiles, text)
    return [(each.line, each.field, each.message) for each in caught.value.problems]


def places(profiles: Path, text: str) -> list[tuple[int | None, str]]:
    return [(line, field) for line, field, _ in problems(profiles, text)]


def test_the_shipped_file_declares_nothing() -> None:
    """It is what counts for users who have none of their own."""
    path = CHECKOUT / INTAKE_FILE
    assert load_declared(path, CHECKOUT / PROFILES_DIR) == Declared()


def test_the_examples_of_the_shipped_file_are_valid(profiles: Path) -> None:
    """Uncommented as they are, with the profiles that ship beside it."""
    lines = (CHECKOUT / INTAKE_FILE).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line.removeprefix("#: ") for line in lines if line.startswith("#: "))
    path = profiles.parent / "intake.yaml"
    path.write_text(text, encoding="utf-8")
    declared = load_declared(path, CHECKOUT / PROFILES_DIR)
    assert declared.buckets
    assert declared.tables
    assert declared.queues
    assert declared.options
    assert declared.uploads


@pytest.mark.parametrize("text", ["", "# nothing\n\n  # yet\n"])
def test_an_empty_file_declares_nothing(profiles: Path, text: str) -> None:
    assert load(profiles, text) == Declared()


def test_a_missing_file_declares_nothing(profiles: Path) -> None:
    assert load_declared(profiles / "none.yaml", profiles) == Declared()


def test_everything_that_can_be_declared(profiles: Path) -> None:
    declared = load(
        profiles,
        f"""
buckets:
  - {{bucket: media, prefix: uploads, suffixes: [mov, "*.MP4"], min_size: 10kB, profile: web}}
  - {{bucket: media, prefix: sounds/, tasks: [{{kind: audio, options: {{format: mp3}}}}]}}
tables:
  - {{table: jobs, profile: web}}
  - {{table: clips, schema: app, url_column: url, id_column: uid, profile: web}}
queues:
  - {{queue_url: {QUEUE}, dead_letter_url: {QUEUE}-unreadable}}
options:
  web: {{max_cost: 50, cost_per_job: 0.05, submit_per_s: 20}}
  requests: {{max_submissions: 1000}}
uploads: {{bucket: media, prefix: uploads, max_bytes: 2GB, profile: web, expires_s: 15m}}
""",
    )
    first, second = declared.buckets
    assert (first.uri, first.suffixes, first.min_size) == (
        "s3://media/uploads/",
        (".mov", ".mp4"),
        10_000,
    )
    assert [(each.kind, each.options) for each in second.specs] == [("audio", {"format": "mp3"})]
    assert declared.table("public", "jobs") is declared.tables[0]
    assert declared.table("public", "clips") is None
    assert declared.options_of("web").max_cost == 50
    assert declared.options_of(None).max_submissions == 1000
    assert declared.options_of("outputs") == RunOptions()
    assert declared.uploads is not None
    assert (declared.uploads.max_bytes, declared.uploads.expires_s) == (2_000_000_000, 900)


def test_every_problem_is_reported_at_once(profiles: Path) -> None:
    text = """buckets:
  - bucket: s3://media/in
    profile: web
  - bucket: media
    prefix: /in
    sufixes: [.mov]
    tasks: [{kind: vidio}, {kind: video, options: {widht: 3}}]
  - bucket: media
    modified_since: 2d
    profile: web
queues:
  - queue_url: http://sqs.eu-west-1.amazonaws.com/1/uploads
options:
  web: {approve_above_jobs: 3, chunk_size: 7}
uploads: {bucket: media, profile: web, content_types: [mp4], max_bytes: 10XB, expires_s: 1s}
"""
    assert places(profiles, text) == [
        (2, "buckets[0].bucket"),
        (5, "buckets[1].prefix"),
        (6, "buckets[1].sufixes"),
        (7, "buckets[1].tasks[0].kind"),
        (7, "buckets[1].tasks[1].options.widht"),
        (9, "buckets[2].modified_since"),
        (12, "queues[0].queue_url"),
        (14, "options.web.approve_above_jobs"),
        (14, "options.web.chunk_size"),
        (15, "uploads.content_types"),
        (15, "uploads.max_bytes"),
        (15, "uploads.expires_s"),
    ]


def test_an_error_shows_file_line_field_and_remedy(profiles: Path) -> None:
    with pytest.raises(DeclarationError) as caught:
        load(profiles, "buckets:\n  - {bucket: media, profile: wob}\n")
    text = str(caught.value)
    assert "intake.yaml has 1 problem:\n  line 2, buckets[0].profile: there is no profile" in text
    assert "found: broken, outputs, web" in text
    assert text.endswith(
        "Correct the file, check it with `ittybatch doctor`, and start the receiver again."
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("buckets: [{bucket: media, profile: broken}]", "buckets[0].profile"),
        ("tables: [{table: jobs, profile: none}]", "tables[0].profile"),
        ("options: {none: {max_submissions: 3}}", "options.none"),
        ("uploads: {bucket: media, profile: none}", "uploads.profile"),
    ],
)
def test_a_profile_must_exist_and_be_usable(profiles: Path, text: str, place: str) -> None:
    """At the start, not when the first upload of the day arrives."""
    assert places(profiles, text) == [(1, place)]


@pytest.mark.parametrize(
    "text",
    ["{bucket: media}", "{bucket: media, profile: web, tasks: [{kind: video}]}"],
)
def test_a_folder_has_either_a_profile_or_tasks(profiles: Path, text: str) -> None:
    [(_, field, message)] = problems(profiles, f"buckets: [{text}]")
    assert field == "buckets[0]"
    assert message.startswith("give either `profile: NAME` or `tasks`")


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("prefix: in", "prefix: in", True),
        ("prefix: in", "prefix: in/deep", True),
        ("prefix: ''", "prefix: in", True),
        ("prefix: in", "prefix: in2", False),
        ("prefix: in, suffixes: [.mov]", "prefix: in, suffixes: [.mp3]", False),
        ("prefix: in, suffixes: [.mov]", "prefix: in/deep", True),
        ("prefix: in, suffixes: [.tar.gz]", "prefix: in, suffixes: [.gz]", True),
    ],
)
def test_no_object_belongs_to_two_declarations(
    profiles: Path, one: str, other: str, overlap: bool
) -> None:
    """It would be processed and paid for twice."""
    text = "".join(f"  - {{bucket: media, profile: web, {each}}}\n" for each in (one, other))
    if overlap:
        assert places(profiles, f"buckets:\n{text}") == [(3, "buckets[1]")]
    else:
        load(profiles, f"buckets:\n{text}")


def test_outputs_may_not_cause_events(profiles: Path) -> None:
    """Each output would be processed again, without end."""
    text = """buckets:
  - {bucket: media, prefix: in, profile: outputs}
  - {bucket: media, prefix: outputs/in, profile: web}
"""
    [(line, field, message)] = problems(profiles, text)
    assert (line, field) == (2, "buckets[0].profile")
    assert "s3://media/outputs/... reaches into s3://media/outputs/in/" in message


def test_uploads_are_not_processed_twice(profiles: Path) -> None:
    """Their events may say the same as their completion, and nothing else."""
    folder = "buckets: [{bucket: media, prefix: in, profile: web}]\n"
    load(profiles, folder + "uploads: {bucket: media, prefix: in/new, profile: web}")
    assert places(
        profiles, folder + "uploads: {bucket: media, prefix: in/new, profile: outputs}"
    ) == [(2, "uploads.profile")]
    assert places(
        profiles,
        folder + "uploads: {bucket: media, prefix: in/new, profile: web, versioned: true}",
    ) == [(2, "uploads.versioned")]


def test_queues_that_feed_themselves_are_refused(profiles: Path) -> None:
    text = f"""buckets: [{{bucket: media, profile: web}}]
queues:
  - {{queue_url: {QUEUE}, dead_letter_url: {QUEUE}-2}}
  - {{queue_url: {QUEUE}-2}}
  - {{queue_url: {QUEUE.replace("//sqs.eu-west-1.", "//eu-west-1.queue.")}}}
"""
    assert places(profiles, text) == [
        (3, "queues[0].dead_letter_url"),
        (5, "queues[2].queue_url"),
    ]


def test_a_queue_needs_a_folder(profiles: Path) -> None:
    """Otherwise every message stays in it, and nothing says so."""
    assert places(profiles, f"queues: [{{queue_url: {QUEUE}}}]") == [(1, "queues")]


def test_a_table_is_declared_once(profiles: Path) -> None:
    text = "tables: [{table: jobs, profile: web}, {table: jobs, schema: public, profile: web}]"
    assert places(profiles, text) == [(1, "tables[1].table")]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"buckets: [", "line 1, the file: not YAML"),
        (b"buckets: {a: 1, a: 2}", "line 1, buckets.a: is given twice; keep one"),
        (b"- 1", "the file: input should be"),
        (b"\xff", "the file: is not UTF-8 at byte 0; save it as UTF-8"),
        (b"#" * 300_000, "the file: has more than 262144 bytes"),
    ],
)
def test_a_file_that_cannot_be_read(profiles: Path, content: bytes, what: str) -> None:
    path = profiles.parent / "intake.yaml"
    path.write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        load_declared(path, profiles)
    assert what in str(caught.value)


def test_types_of_uploads(profiles: Path) -> None:
    text = "uploads: {bucket: media, profile: web, content_types: [video/mp4, Audio/*]}"
    uploads = load(profiles, text).uploads
    assert uploads is not None
    assert uploads.accepts("video/mp4; codecs=avc1")
    assert uploads.accepts("AUDIO/mpeg")
    assert not any(
        map(uploads.accepts, ["video/webm", "audio/*", "audio/", "video", "", "audio/a\nb"])
    )
