"""Options of a job: one spelling for what means the same, one problem for each mistake."""

import math
import pickle
from typing import Any

import orjson
import pytest

from ittybatch.ittybit.options import InvalidOptions, Kind, OptionProblem, canonical_options


def problems_of(kind: Kind | str, **options: object) -> dict[str, OptionProblem]:
    with pytest.raises(InvalidOptions) as refused:
        canonical_options(kind, options)
    found = refused.value.problems
    assert len({problem.field for problem in found}) == len(found)
    for problem in found:
        assert problem.remedy
        assert str(problem) in str(refused.value)
    return {problem.field: problem for problem in found}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Kind.VIDEO, {"width": 1280, "format": "mp4", "quality": "high"}),
        (Kind.VIDEO, {"format": "mp4", "width": 1920}),
        (Kind.VIDEO, {"connection_id": "conn_abc123", "width": 1920, "format": "mp4"}),
        (Kind.VIDEO, {"width": 480, "format": "mp4", "quality": "low"}),
        (Kind.IMAGE, {"width": 640, "format": "webp", "start": 2}),
        (Kind.AUDIO, {"format": "mp3", "quality": "medium"}),
        (Kind.AUDIO, {"bitrate": 128_000, "start": 1, "end": 2.5}),
        (Kind.ANIMATION, {"start": 1, "end": 4, "format": "gif", "fps": 10}),
        (Kind.ADAPTIVE_VIDEO, {"format": "hls", "quality": "high"}),
        *((kind, {}) for kind in Kind if kind is not Kind.ANIMATION),
    ],
)
def test_what_the_guides_send_stays_as_it_is(kind: Kind, options: dict[str, Any]) -> None:
    """Nothing is added, and the names are sorted."""
    found = canonical_options(kind, options)
    assert found == options
    assert list(found) == sorted(options)


@pytest.mark.parametrize("width", [1280, "1280", 1280.0, " 1280 ", "1280.0"])
def test_a_width_has_one_spelling(width: object) -> None:
    """It is hashed, and the same job must have the same hash."""
    assert orjson.dumps(canonical_options(Kind.VIDEO, {"width": width})) == b'{"width":1280}'


@pytest.mark.parametrize("start", [2, 2.0, "2", "2.0"])
def test_a_time_has_one_spelling(start: object) -> None:
    """Whole seconds are integers."""
    assert orjson.dumps(canonical_options("image", {"start": start})) == b'{"start":2}'


@pytest.mark.parametrize(
    ("start", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1m30s", 90),
        ("1m 30s", 90),
        ("1:30", 90),
        ("01:30", 90),
        ("00:01:30", 90),
        ("0:01:30.5", 90.5),
        ("90:00", 5400),
        ("1h", 3600),
        ("1:00:00", 3600),
        ("500ms", 0.5),
        (" 2.5 ", 2.5),
    ],
)
def test_a_time_is_read_as_people_write_it(start: str, seconds: float) -> None:
    """In a profile and in a manifest's cell; what is sent are seconds."""
    clip = canonical_options("video", {"start": start, "end": "2:30:00"})
    assert clip == {"end": 9000, "start": seconds}
    assert canonical_options("image", {"start": start}) == {"start": seconds}


@pytest.mark.parametrize(
    "start", ["1:5", "1:60", "1:60:00", "00:01:30:12", ":30", "1:30,5", "-1:30", "1x", "soon"]
)
def test_a_time_that_can_be_misread_is_refused(start: str) -> None:
    """With the forms that can be used."""
    with pytest.raises(InvalidOptions, match=r"1:30.*00:01:30"):
        canonical_options("image", {"start": start})


@pytest.mark.parametrize("share", ["50%", "50.0%", "050%", " 50 %"])
def test_a_percentage_has_one_spelling(share: str) -> None:
    """Of the input's size."""
    assert canonical_options(Kind.VIDEO, {"width": share}) == {"width": "50%"}


def test_words_have_one_spelling() -> None:
    """Case and blanks do not make another job."""
    options = {"format": " MP4", "quality": "High", "fit": "Contain", "background": "#FFF"}
    assert canonical_options(Kind.VIDEO, options) == {
        "background": "#fff",
        "fit": "contain",
        "format": "mp4",
        "quality": "high",
    }


def test_none_is_not_set() -> None:
    """As an empty value in YAML."""
    assert canonical_options(Kind.VIDEO, {"width": None, "start": 0}) == {"start": 0}


def test_fit_is_sent_wherever_both_sides_are_set() -> None:
    """Ittybit's pages disagree on what happens without it."""
    both = {"width": 640, "height": 360}
    assert canonical_options(Kind.IMAGE, both)["fit"] == "fill"
    assert canonical_options(Kind.IMAGE, both | {"fit": "cover"})["fit"] == "cover"
    assert "fit" not in canonical_options(Kind.IMAGE, {"width": 640})


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Kind.VIDEO, "width", 0),
        (Kind.VIDEO, "width", -1),
        (Kind.VIDEO, "width", 1.5),
        (Kind.VIDEO, "width", True),
        (Kind.VIDEO, "width", "wide"),
        (Kind.VIDEO, "width", "0%"),
        (Kind.VIDEO, "width", "50 percent"),
        (Kind.VIDEO, "width", 65_537),
        (Kind.VIDEO, "width", [1]),
        pytest.param(Kind.VIDEO, "width", 10**5000, id="huge"),
        (Kind.IMAGE, "height", 8193),
        (Kind.VIDEO, "format", "avi"),
        (Kind.VIDEO, "codec", "prores"),
        (Kind.VIDEO, "quality", 80),
        (Kind.VIDEO, "fps", 0.5),
        (Kind.VIDEO, "fps", 61),
        (Kind.VIDEO, "fps", math.nan),
        (Kind.VIDEO, "bitrate", 299_999),
        (Kind.VIDEO, "bitrate", 60_000_001),
        (Kind.VIDEO, "bitrate", "5M"),
        (Kind.AUDIO, "bitrate", 320_001),
        (Kind.AUDIO, "width", 100),
        (Kind.AUDIO, "format", "mp4"),
        (Kind.IMAGE, "format", "gif"),
        (Kind.IMAGE, "end", 3),
        (Kind.VIDEO, "start", -1),
        (Kind.VIDEO, "start", math.inf),
        (Kind.VIDEO, "start", False),
        (Kind.VIDEO, "position", "<script>"),
        (Kind.VIDEO, "fit", "stretch"),
        (Kind.ADAPTIVE_VIDEO, "codec", "h264"),
        (Kind.VIDEO, "connection_id", ""),
        (Kind.VIDEO, "connection_id", "a b"),
        (Kind.VIDEO, "widht", 100),
    ],
)
def test_a_wrong_option_is_named(kind: Kind, field: str, value: object) -> None:
    """With its value and what to do about it."""
    options = {field: value} | ({"end": 3} if kind is Kind.ANIMATION else {})
    assert set(problems_of(kind, **options)) == {field}


def test_every_problem_is_told_at_once() -> None:
    """Also where right options contradict each other beside wrong ones."""
    problems = problems_of(
        Kind.VIDEO, width="wide", fps=99, widht=3, codec="vp9", format="mp4", start=5, end=4
    )
    assert set(problems) == {"width", "fps", "widht", "codec", "end"}
    assert problems["width"].value == "'wide'"
    assert "50%" in problems["width"].remedy
    assert "width" in problems["widht"].remedy
    assert "webm" in problems["codec"].remedy


def test_a_wrong_option_makes_no_second_problem() -> None:
    """A background is not blamed for a fit that is misspelt."""
    assert set(problems_of(Kind.VIDEO, background="#000000", fit="contian")) == {"fit"}
    assert set(problems_of(Kind.ANIMATION, end="late")) == {"end"}


@pytest.mark.parametrize(
    ("codec", "containers"),
    [
        ("h264", {"mp4", "mov"}),
        ("h265", {"mp4", "mov"}),
        ("vp9", {"webm"}),
        ("av1", {"mp4", "webm"}),
    ],
)
@pytest.mark.parametrize("container", ["mp4", "webm", "mov"])
def test_a_codec_needs_a_container_that_holds_it(
    codec: str, containers: set[str], container: str
) -> None:
    """As Ittybit documents them."""
    options = {"codec": codec, "format": container}
    if container in containers:
        assert canonical_options(Kind.VIDEO, options) == options
    else:
        assert set(problems_of(Kind.VIDEO, **options)) == {"codec"}


def test_the_default_container_is_mp4() -> None:
    """VP9 without a format would not fit into it."""
    assert "default" in problems_of(Kind.VIDEO, codec="vp9")["codec"].problem
    assert canonical_options(Kind.VIDEO, {"codec": "h265"}) == {"codec": "h265"}


@pytest.mark.parametrize("fit", [None, "cover", "fill"])
def test_a_background_needs_a_picture_that_is_contained(fit: str | None) -> None:
    """Or there is nothing behind it to be seen."""
    assert set(problems_of(Kind.VIDEO, background="#000000", fit=fit)) == {"background"}


@pytest.mark.parametrize("start", [None, 3, 5])
def test_a_clip_ends_after_it_starts(start: float | None) -> None:
    """A clip of no length is a mistake."""
    end = start or 0
    assert set(problems_of(Kind.AUDIO, start=start, end=end)) == {"end"}


def test_an_animation_needs_an_end() -> None:
    """Or it is as long as its input, and as large."""
    problem = problems_of(Kind.ANIMATION, width=320)["end"]
    assert problem.value == "(not set)"
    assert "end: 5" in problem.remedy


def test_an_unknown_kind_is_named() -> None:
    """With the kinds that there are."""
    assert "adaptive_video" in problems_of("movie")["kind"].remedy


def test_long_and_secret_values_are_not_repeated() -> None:
    """The message is for a log."""
    problems = problems_of(Kind.VIDEO, format="x" * 100_000, position="Bearer abc:def")
    assert len(problems["format"].value) < 100
    assert "abc" not in problems["position"].value


def test_the_error_survives_another_process() -> None:
    """Prefect pickles what a task raises."""
    with pytest.raises(InvalidOptions) as refused:
        canonical_options(Kind.VIDEO, {"width": 0})
    copy = pickle.loads(pickle.dumps(refused.value))
    assert copy.problems == refused.value.problems
    assert str(copy) == str(refused.value)
