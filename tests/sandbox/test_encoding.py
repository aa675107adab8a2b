"""Real media in, real media out, measured with other libraries than the sandbox's own."""

import io
from typing import Any

import av
import httpx
import pytest
from PIL import Image, ImageSequence

from tests.sandbox.harness import Json, Running


def output_of(job: Json) -> Json:
    """Return the file that a job's last task gives, checked against the job."""
    assert job["status"] == "succeeded", job["error"]
    assert [task["kind"] for task in job["tasks"]] == ["probe", "import", "encode", "export"]
    assert {task["status"] for task in job["tasks"]} == {"succeeded"}
    output: Json = job["tasks"][-1]["output"]
    assert output["url"] == job["output"]
    return output


def fetch(output: Json) -> bytes:
    answer = httpx.get(output["url"])
    assert answer.status_code == 200
    return answer.content


def measure(raw: bytes) -> Json:
    """Measure video or audio with PyAV."""
    with av.open(io.BytesIO(raw), mode="r") as container:
        found: Json = {"format": container.format.name}
        if container.duration is not None:
            found["duration"] = container.duration / av.time_base
        if container.streams.video:
            video = container.streams.video[0]
            found |= {"width": video.width, "height": video.height, "codec": video.codec.name}
            found["fps"] = float(video.average_rate or 0)
        if container.streams.audio:
            found["sound"] = container.streams.audio[0].codec.name
        return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("mp4", "h264", (128, 96))),
        ({"width": 64, "quality": "low"}, ("mp4", "h264", (64, 48))),
        ({"height": "50%", "format": "mov", "quality": "high"}, ("mp4", "h264", (64, 48))),
        ({"width": 63, "codec": "h265", "quality": "very_low"}, ("mp4", "hevc", (62, 46))),
        ({"format": "webm", "bitrate": 300_000}, ("matroska", "vp9", (128, 96))),
        ({"codec": "vp9", "width": 64}, ("matroska", "vp9", (64, 48))),
        ({"codec": "av1", "quality": "very_high"}, ("mp4", "av1", (128, 96))),
        ({"codec": "av1", "width": 48, "format": "webm"}, ("matroska", "av1", (48, 36))),
    ],
)
def test_a_video_has_the_asked_format_codec_and_size(
    encoding: Running,
    media_url: str,
    options: Json,
    expected: tuple[str, str, tuple[int, int]],
) -> None:
    """Frames are even and keep the input's shape where one side alone is given."""
    job = encoding.run(input=f"{media_url}/clip.mp4", options=options)
    output = output_of(job)
    container, codec, size = expected
    raw = fetch(output)
    found = measure(raw)
    assert container in found["format"]
    assert found["codec"] == {"av1": "libdav1d"}.get(codec, codec)
    assert (found["width"], found["height"]) == size == (output["width"], output["height"])
    assert found["sound"] in {"aac", "opus", "libopus"}
    assert output["duration"] == pytest.approx(2, abs=0.1)
    assert found["duration"] == pytest.approx(output["duration"], abs=0.02)
    assert output["size"] == len(raw)


def test_a_video_is_trimmed_and_retimed(encoding: Running, media_url: str) -> None:
    """Start, end and fps are kept to."""
    options = {"start": 0.5, "end": 1.5, "fps": 5}
    output = output_of(encoding.run(input=f"{media_url}/clip.mp4", options=options))
    found = measure(fetch(output))
    assert found["duration"] == pytest.approx(1, abs=0.1)
    assert found["fps"] == 5


@pytest.mark.parametrize("form", ["mp3", "aac", "ogg", "opus", "wav", "flac"])
@pytest.mark.parametrize("options", [{"end": 1}, {"bitrate": 32_000}, {"bitrate": 320_000}])
def test_audio_has_the_asked_format_and_length(
    encoding: Running, media_url: str, form: str, options: Json
) -> None:
    """Every format works from end to end of the range of bitrates."""
    job = encoding.run(
        input=f"{media_url}/clip.mp4", kind="audio", options={"format": form} | options
    )
    output = output_of(job)
    assert output["format"] == form
    assert output["duration"] == pytest.approx(options.get("end", 2), abs=0.1)
    assert "width" not in output
    sound = measure(fetch(output))["sound"]
    assert {"ogg": "vorbis", "wav": "pcm_s16le", "mp3": "mp3"}.get(form, form) in sound


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize("source", ["clip.mp4", "red%20left.png"])
def test_an_image_is_a_frame_or_a_picture(
    encoding: Running, media_url: str, form: str, source: str
) -> None:
    """Even the moment after the last frame gives an image: that frame."""
    job = encoding.run(
        input=f"{media_url}/{source}",
        kind="image",
        options={"format": form, "width": 32, "start": 1.95, "quality": "high"},
    )
    output = output_of(job)
    raw = fetch(output)
    with Image.open(io.BytesIO(raw)) as picture:
        assert (picture.format or "").lower() == form == output["format"]
        assert picture.size == (output["width"], output["height"])
        assert picture.width == 32
    assert output["size"] == len(raw)
    assert "duration" not in output


def test_an_image_without_a_format_keeps_its_own(encoding: Running, media_url: str) -> None:
    """A png stays a png; a frame of a video becomes a jpeg."""
    png = output_of(encoding.run(input=f"{media_url}/red%20left.png", kind="image"))
    frame = output_of(encoding.run(input=f"{media_url}/clip.mp4", kind="image"))
    assert (png["format"], frame["format"]) == ("png", "jpeg")
    assert png["url"].endswith("/red_left.png")


@pytest.mark.parametrize(
    ("options", "corner", "middle"),
    [
        ({"fit": "contain", "background": "#00ff00"}, (0, 255, 0), (255, 0, 0)),
        ({"fit": "contain", "background": "#0f0", "position": "top"}, (255, 0, 0), (255, 0, 0)),
        ({"fit": "cover"}, (255, 0, 0), (255, 0, 0)),
        ({"fit": "fill"}, (255, 0, 0), (255, 0, 0)),
        ({}, (255, 0, 0), (255, 0, 0)),
    ],
)
def test_fit_decides_how_a_picture_meets_a_frame_of_another_shape(
    encoding: Running,
    media_url: str,
    options: Json,
    corner: tuple[int, int, int],
    middle: tuple[int, int, int],
) -> None:
    """Contain pads with the background, cover and fill leave none."""
    asked = {"format": "png", "width": 30, "height": 30} | options
    job = encoding.run(input=f"{media_url}/red%20left.png", kind="image", options=asked)
    with Image.open(io.BytesIO(fetch(output_of(job)))) as picture:
        pixels = picture.convert("RGB")
        assert pixels.size == (30, 30)
        for place, colour in (((0, 0), corner), ((15, 15), middle)):
            found: Any = pixels.getpixel(place)
            assert max(abs(a - b) for a, b in zip(found, colour, strict=True)) < 12


@pytest.mark.parametrize("form", ["gif", "webp"])
def test_an_animation_moves_as_fast_as_asked(encoding: Running, media_url: str, form: str) -> None:
    """Five frames a second for one second are five frames."""
    options = {"format": form, "width": 64, "end": 1, "fps": 5, "quality": "low"}
    job = encoding.run(input=f"{media_url}/clip.mp4", kind="animation", options=options)
    output = output_of(job)
    with Image.open(io.BytesIO(fetch(output))) as picture:
        assert (picture.format or "").lower() == form
        assert picture.size == (64, 48) == (output["width"], output["height"])
        assert sum(1 for _ in ImageSequence.Iterator(picture)) == 5
    assert output["duration"] == pytest.approx(1)


@pytest.mark.parametrize("form", ["gif", "webp"])
def test_an_animation_of_a_motionless_film_is_as_long_as_asked(
    encoding: Running, media_url: str, form: str
) -> None:
    """WebP merges equal frames, here into one without a duration. The film is whole."""
    options = {"format": form, "width": 64, "start": 0.5, "end": 2}
    job = encoding.run(input=f"{media_url}/still.mp4", kind="animation", options=options)
    assert output_of(job)["duration"] == pytest.approx(1.5, abs=0.1)


def test_adaptive_video_is_a_playlist_over_variants_and_segments(
    encoding: Running, media_url: str
) -> None:
    """All that the playlists name can be fetched, and plays."""
    options = {"height": 360, "quality": "low"}
    job = encoding.run(input=f"{media_url}/clip.mp4", kind="adaptive_video", options=options)
    output = output_of(job)
    assert (output["format"], output["width"], output["height"]) == ("hls", 480, 360)
    assert output["duration"] == pytest.approx(2, abs=0.1)
    base = output["url"].rpartition("/")[0]
    variants = [line for line in fetch(output).decode().split("\n") if line and line[0] != "#"]
    assert len(variants) == 2
    for variant in variants:
        playlist = httpx.get(f"{base}/{variant}").text
        segments = [line for line in playlist.split("\n") if line and line[0] != "#"]
        found = measure(httpx.get(f"{base}/{segments[0]}").content)
        assert (found["codec"], found["sound"]) == ("h264", "aac")


@pytest.mark.parametrize("source", ["silent.mp4", "tone.wav"])
def test_adaptive_video_does_without_sound_or_without_picture(
    encoding: Running, media_url: str, source: str
) -> None:
    """Audio alone gives an audio-only package."""
    output = output_of(encoding.run(input=f"{media_url}/{source}", kind="adaptive_video"))
    assert ("width" in output) == (source == "silent.mp4")
    assert output["duration"] == pytest.approx(2, abs=0.2)


def test_outputs_are_served_in_ranges(encoding: Running, media_url: str) -> None:
    """A player can seek."""
    output = output_of(encoding.run(input=f"{media_url}/tone.wav", kind="audio"))
    part = httpx.get(output["url"], headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == fetch(output)[10:20]


@pytest.mark.parametrize("kind", ["probe", "import", "audio"])
def test_a_standalone_task_runs_by_itself(encoding: Running, media_url: str, kind: str) -> None:
    """It answers 201 in the shape of a task, and ends with a file."""
    source = {"url": f"{media_url}/clip.mp4"}
    created = encoding.post({"kind": kind, "input": source}, path="/tasks")
    assert created.status_code == 201
    task = created.json()
    assert (task["object"], task["status"], task["output"]) == ("task", "waiting", None)
    assert task["input"] == {"object": "external_file"} | source
    path = f"/tasks/{task['id']}"
    while (task := encoding.client.get(path).json())["status"] not in {"succeeded", "failed"}:
        continue
    assert task["output"]["object"] == "file"
    assert task["output"]["duration"] == pytest.approx(2, abs=0.1)
    assert encoding.client.get(f"/jobs/{task['id']}").status_code == 404
