"""Reading a profile's file: every problem at once, each with its line and field."""

from pathlib import Path

import pytest

from ittybatch.profiles import Profile, ProfileError, Profiles, load_profile

SOUND = """
renditions:
  - name: small
    kind: video
    options: {width: 640}
"""


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(ProfileError) as caught:
        load_profile(str(write(folder, text)), folder)
    return [(problem.line, problem.field) for problem in caught.value.problems]


def test_the_files_name_is_the_profiles_name(tmp_path: Path) -> None:
    """A name inside is optional."""
    write(tmp_path, SOUND)
    assert load_profile("mine", tmp_path).name == "mine"


def test_limits_have_defaults_and_units(tmp_path: Path) -> None:
    """Three attempts, six hours, thirty seconds, unless told otherwise."""
    write(tmp_path, SOUND + "  - {name: b, kind: audio, attempts: 5, deadline: 1h30m, backoff: 2}")
    first, second = load_profile("mine", tmp_path).renditions
    assert (first.attempts, first.deadline, first.backoff) == (3, 6 * 3600, 30)
    assert (second.attempts, second.deadline, second.backoff) == (5, 5400, 2)


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    """Nobody should mend a file ten times over."""
    text = """name: Bad Name
renditions:
  - name: a
    kind: video
    options: {widht: 12, width: -3}
    destination: "s3://out/{stm}.mp4"
  - name: a
    kind: vidio
  - name: b
    kind: audio
    nme: 1
    when:
      min_size: 10XB
      media: [video, text]
    attempts: 99
    deadline: six
    metadata: {ittybatch_job: x}
"""
    assert sorted(problems(tmp_path, text)) == [
        (1, "name"),
        (5, "renditions[0].options.widht"),
        (5, "renditions[0].options.width"),
        (6, "renditions[0].destination"),
        (7, "renditions[1].name"),
        (8, "renditions[1].kind"),
        (11, "renditions[2].nme"),
        (13, "renditions[2].when.min_size"),
        (14, "renditions[2].when.media[1]"),
        (15, "renditions[2].attempts"),
        (16, "renditions[2].deadline"),
        (17, "renditions[2].metadata"),
    ]


def test_an_error_shows_file_line_field_and_remedy(tmp_path: Path) -> None:
    """The message alone is enough to fix it."""
    path = write(tmp_path, "renditions:\n  - name: a\n    kind: vidio\n")
    with pytest.raises(ProfileError) as caught:
        load_profile("mine", tmp_path)
    message = str(caught.value)
    assert f"{path} has 1 problem" in message
    assert "line 3, renditions[0].kind: input should be 'video'" in message
    assert message.endswith("\nNothing was sent to Ittybit. Fix the file and start again.")


def test_a_missing_field_is_reported_where_it_should_stand(tmp_path: Path) -> None:
    """The line is that of the rendition without it."""
    assert problems(tmp_path, SOUND + "  - {name: b}\n") == [(6, "renditions[1].kind")]


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """YAML would silently let the last one win."""
    text = "renditions:\n  - name: a\n    kind: audio\n    name: b\n"
    assert problems(tmp_path, text) == [(4, "renditions[0].name")]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0720", 720),
        ("+720", 720),
        ("1e3", 1000),
        ("0o17", 15),
        ("0x10", 16),
        ("1280.0", 1280),
        ("1_000", 1000),
    ],
)
def test_numbers_are_those_of_yaml_1_2(tmp_path: Path, written: str, read: int) -> None:
    """YAML 1.1 reads 0720 as octal, and pays for a picture of another size."""
    write(tmp_path, SOUND.replace("640", written))
    [rendition] = load_profile("mine", tmp_path).renditions
    assert rendition.options["width"] == read


def test_times_are_read_as_people_write_them(tmp_path: Path) -> None:
    """With and without quotes: YAML 1.1 knows 1:30 as a number of base 60, 00:01:30 as text."""
    for start in ("1:30", "00:01:30", "90", "90s", "1m30s", '"1:30"'):
        write(tmp_path, SOUND.replace("width: 640", f"start: {start}, end: 3:00"))
        [rendition] = load_profile("mine", tmp_path).renditions
        assert rendition.options == {"end": 180, "start": 90}


def test_words_are_no_truth_values_and_dates_no_dates(tmp_path: Path) -> None:
    """What looks like text is text: in names, and wherever the user's own values stand."""
    write(
        tmp_path,
        """
description: 2026-11-27
renditions:
  - name: no
    kind: audio
    metadata: {ok: yes, day: 2026-11-27, id: 007, size: 1.50, on: true, time: 1:30}
  - name: 0480
    kind: video
""",
    )
    profile = load_profile("mine", tmp_path)
    assert profile.description == "2026-11-27"
    assert [rendition.name for rendition in profile.renditions] == ["no", "0480"]
    assert profile.renditions[0].metadata == {
        "ok": "yes",
        "day": "2026-11-27",
        "id": "007",
        "size": "1.50",
        "on": "true",
        "time": "1:30",
    }


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("    options: {width: 01f}", "renditions[0].options.width"),
        ("    options: {width: yes}", "renditions[0].options.width"),
        ("    options: {start: 1:5}", "renditions[0].options.start"),
        ("    deadline: 1:30", "renditions[0].deadline"),
        ("    attempts: 0b11", "renditions[0].attempts"),
        ("    options:\n      background: #ffffff", "renditions[0].options.background"),
        ("    options: {width: , height: 480}", "renditions[0].options.width"),
        ("    when:", "renditions[0].when"),
    ],
)
def test_what_could_be_meant_otherwise_is_refused(tmp_path: Path, line: str, field: str) -> None:
    """A colour that YAML takes for a comment would be left out without a word."""
    text = f"renditions:\n  - name: a\n    kind: video\n{line}\n"
    assert [found for _, found in problems(tmp_path, text)] == [field]


def test_a_tab_is_named_as_such(tmp_path: Path) -> None:
    """YAML's own words for it help nobody."""
    text = "renditions:\n\t- name: a\n"
    with pytest.raises(ProfileError, match=r"tab.*spaces"):
        load_profile(str(write(tmp_path, text)), tmp_path)


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    """Before any field can be looked at."""
    assert problems(tmp_path, "renditions:\n  - name: [a\nkind: }\n")[0][0] == 3


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "just text\n", "a: 1\n---\nb: 2\n"])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever it is instead."""
    assert problems(tmp_path, text)


def test_no_object_is_built_from_yaml(tmp_path: Path) -> None:
    """A profile is data, wherever it comes from."""
    marker = tmp_path / "made"
    text = f"name: !!python/object/apply:pathlib.Path.touch [{marker}]\n"
    assert problems(tmp_path, text)
    assert not marker.exists()


def test_a_file_that_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    """Aliases of aliases make billions out of a few lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert problems(tmp_path, "\n".join(lines)) == [(None, "profile")]
    assert problems(tmp_path, "[" * 5000)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    """No profile needs a quarter of a megabyte."""
    write(tmp_path, "#" * 300_000)
    with pytest.raises(ProfileError, match="more than 262144 bytes"):
        load_profile("mine", tmp_path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """With the byte at which it is not."""
    (tmp_path / "mine.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ProfileError, match="not UTF-8 at byte 9"):
        load_profile("mine", tmp_path)


def test_a_shared_part_can_be_written_once(tmp_path: Path) -> None:
    """Anchors and merge keys are what YAML has for it."""
    text = """
renditions:
  - &base
    name: a
    kind: video
    options: {width: 640}
  - <<: *base
    name: b
    options: {width: 320}
"""
    write(tmp_path, text)
    assert [r.kind for r in load_profile("mine", tmp_path).renditions] == ["video", "video"]


def test_an_unknown_name_lists_those_that_exist(tmp_path: Path) -> None:
    """A slip is seen at a glance."""
    write(tmp_path, SOUND, "web.yaml")
    with pytest.raises(ProfileError, match=r"no profile 'wbe' .* \(found: web\)"):
        load_profile("wbe", tmp_path)
    with pytest.raises(ProfileError, match=r"cannot be read: No such file"):
        load_profile(str(tmp_path / "none.yaml"), tmp_path)


@pytest.mark.parametrize("name", ["../secret", "a/b", "/etc/passwd", "a\x00b", "web.yaml", ""])
def test_a_row_cannot_name_a_path(tmp_path: Path, name: str) -> None:
    """Manifests come from anywhere; a registry follows names alone."""
    write(tmp_path, SOUND, "web.yaml")
    (tmp_path / "inner").mkdir()
    with pytest.raises(ProfileError):
        Profiles(tmp_path / "inner").get(name)


def test_a_registry_reads_each_file_once(tmp_path: Path) -> None:
    """A million rows may name the same profile, sound or not."""
    path = write(tmp_path, SOUND)
    profiles = Profiles(tmp_path)
    first = profiles.get("mine")
    with pytest.raises(ProfileError):
        profiles.get("other")
    write(tmp_path, SOUND, "other.yaml")
    path.unlink()
    assert profiles.get("mine") is first
    with pytest.raises(ProfileError):
        profiles.get("other")


def test_plain_data_is_checked_like_a_file() -> None:
    """The ledger's copy has no lines, but fields."""
    with pytest.raises(ProfileError) as caught:
        Profile.from_mapping({"name": "x", "renditions": [{"name": "a", "kind": "nope"}]})
    assert [problem.field for problem in caught.value.problems] == ["renditions[0].kind"]


@pytest.mark.parametrize(
    ("second", "field"),
    [
        ("{name: a, kind: audio}", "renditions[1].name"),
        ("{name: b, kind: video, options: {width: '640'}}", "renditions[1].options"),
        (
            "{name: b, kind: video, options: {width: 640}, attempts: 9, metadata: {a: b}}",
            "renditions[1].options",
        ),
    ],
)
def test_renditions_that_are_one_are_refused(tmp_path: Path, second: str, field: str) -> None:
    """They would be paid for once and reported twice."""
    text = f"renditions:\n  - {{name: a, kind: video, options: {{width: 640}}}}\n  - {second}\n"
    assert problems(tmp_path, text) == [(3, field)]


def test_an_emoji_as_json_writes_it_is_one_character(tmp_path: Path) -> None:
    """Halves on their own are told with their line: no ledger could store them."""
    text = SOUND + '    metadata: {mood: "\\ud83d\\ude00"}\n'
    assert load_profile(str(write(tmp_path, text)), tmp_path).renditions[0].metadata == {
        "mood": "\U0001f600"
    }
    text = (
        SOUND + '    metadata: {mood: "\\ud83d"}\n    when: {suffix: "\\ude00"}\n    "\\ud800": 1\n'
    )
    assert problems(tmp_path, text) == [
        (6, "renditions[0].metadata.mood"),
        (7, "renditions[0].when.suffix"),
        (8, "renditions[0]"),
    ]


@pytest.mark.parametrize(
    ("added", "line", "field", "message"),
    [
        ('    attempts: !!bool "maybe"', 6, "renditions[0].attempts", "'maybe' is no bool"),
        (
            '    metadata: {a: !!timestamp "x"}',
            6,
            "renditions[0].metadata.a",
            "'x' is no timestamp",
        ),
        ('    !!bool "maybe": 1', None, "profile", "not YAML"),
        ("    attempts: \x07", 6, "profile", "the control character '\\x07'"),
        ("    metadata: " + "[" * 3000, 6, "profile", "nested too deeply"),
    ],
)
def test_what_no_loader_can_read_is_told_with_its_line(
    tmp_path: Path, added: str, line: int | None, field: str, message: str
) -> None:
    """No traceback."""
    with pytest.raises(ProfileError) as caught:
        load_profile(str(write(tmp_path, SOUND + added + "\n")), tmp_path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (line, field)
    assert message in problem.message
