"""The probe task of a job describes its input, whatever the format."""

from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from tests.sandbox.harness import Json, Running, make_media, running, serving, wait_for

FILM = ("-f", "lavfi", "-i", "testsrc=duration=2:size=64x48:rate=10")
SOUND = ("-f", "lavfi", "-i", "sine=duration=2")
RECIPES = {
    "film.ts": (*FILM, *SOUND, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"),
    "tone.ogg": (*SOUND, "-c:a", "libvorbis"),
    "tone.wma": (*SOUND, "-c:a", "wmav2"),
    "moving.gif": FILM,
}


def probe_of(job: Json) -> Json:
    """The probe task of a job."""
    task: Json = next(task for task in job["tasks"] if task["kind"] == "probe")
    return task


@pytest.fixture(scope="module")
def odd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A transport stream, Vorbis, Windows Media, and an animated GIF, served."""
    folder = tmp_path_factory.mktemp("odd")
    for name, recipe in RECIPES.items():
        make_media(folder / name, *recipe)

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return str(folder / Path(super().translate_path(path)).name)

        def log_message(self, *_args: object) -> None:
            return

    with serving(Handler) as url:
        yield url


def test_a_probe_describes_the_input(encoding: Running, media_url: str) -> None:
    """As `GET /jobs/{id}` of Ittybit's reference shows it, and not the output."""
    url = f"{media_url}/clip.mp4"
    probe = probe_of(encoding.run(input=url, options={"width": 64}))
    output = probe["output"]
    assert (output["object"], output["kind"], output["url"]) == ("file", "video", url)
    assert (output["format"], output["width"], output["height"]) == ("mp4", 128, 96)
    assert output["duration"] == pytest.approx(2, abs=0.1)
    assert encoding.client.get(f"/tasks/{probe['id']}").json()["output"] == output


def test_a_failed_job_still_has_its_probe(encoding: Running, media_url: str) -> None:
    """What is known of the input helps to understand the failure."""
    job = encoding.run(input=f"{media_url}/silent.mp4", kind="audio", options={})
    assert job["status"] == "failed"
    assert probe_of(job)["output"]["duration"] == pytest.approx(2, abs=0.1)
    unreadable = encoding.run(input=f"{media_url}/notes.mp4")
    assert (probe_of(unreadable)["status"], probe_of(unreadable)["output"]) == ("failed", None)


def test_a_computed_output_agrees_with_a_computed_probe(instant: Running) -> None:
    """Without encoding there is a plausible input, the same for every kind."""
    jobs = [instant.run(input="s3://library/a.mov", kind=kind) for kind in ("video", "audio")]
    probes = [probe_of(job)["output"] for job in jobs]
    assert probes[0] == probes[1]
    assert probes[0]["duration"] == jobs[0]["tasks"][-1]["output"]["duration"]
    picture = probe_of(instant.run(input="s3://library/a.png", kind="image"))["output"]
    assert (picture["kind"], "duration" in picture) == ("image", False)


def test_a_probe_survives_a_restart(tmp_path: Path, media_url: str) -> None:
    """It is in the journal."""
    with running(state_dir=tmp_path) as sandbox:
        before = sandbox.run(input=f"{media_url}/clip.mp4", options={"width": 64})
    with running(state_dir=tmp_path) as sandbox:
        after = sandbox.job(before["id"])
    assert probe_of(after)["output"] == probe_of(before)["output"] is not None


@pytest.mark.parametrize(
    ("name", "kind", "form", "media"),
    [
        ("film.ts", "video", "mpegts", "video"),
        ("film.ts", "audio", "mpegts", "video"),
        ("tone.ogg", "audio", "ogg", "audio"),
        ("tone.wma", "audio", "asf", "audio"),
        ("moving.gif", "video", "gif", "video"),
        ("moving.gif", "image", "gif", "video"),
    ],
)
def test_less_common_formats_are_media(
    encoding: Running, odd_url: str, *, name: str, kind: str, form: str, media: str
) -> None:
    """A transport stream, Vorbis, Windows Media and an animated GIF are read like any other."""
    job = encoding.run(input=f"{odd_url}/{name}", kind=kind)
    assert job["status"] == "succeeded", job["error"]
    probed = probe_of(job)["output"]
    assert (probed["format"], probed["kind"]) == (form, media)
    assert probed["duration"] == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize(
    ("name", "media", "content_type"),
    [
        ("film.ts", "video", "video/mp2t"),
        ("tone.ogg", "audio", "audio/ogg"),
        ("tone.wma", "audio", "audio/x-ms-wma"),
        ("moving.gif", "video", "image/gif"),
    ],
)
def test_they_are_imported_and_served_as_what_they_are(
    encoding: Running, odd_url: str, name: str, media: str, content_type: str
) -> None:
    """Whatever tables of types the machine has."""
    body = {"kind": "import", "input": {"url": f"{odd_url}/{name}"}}
    path = f"/tasks/{encoding.post(body, path='/tasks').json()['id']}"
    output = wait_for(lambda: encoding.client.get(path).json()["output"])
    assert output["kind"] == media
    served = encoding.client.get(output["url"])
    assert served.headers["content-type"].partition(";")[0] == content_type
