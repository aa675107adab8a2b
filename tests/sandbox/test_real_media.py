"""Media as cameras, phones, recorders and broken uploads write them, and what comes of each."""

import io
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from tests.sandbox.harness import Json, Running, serving
from tests.sandbox.library import CASES, MAKERS, Case, measure, transparent


@pytest.fixture(scope="session")
def odd_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd")


@pytest.fixture(scope="session")
def odd_url(odd_dir: Path) -> Iterator[str]:
    """Where the media are served; each is made when it is first asked for."""

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return str(odd_dir / Path(super().translate_path(path)).name)

        def do_GET(self) -> None:
            file = Path(self.translate_path(self.path))
            if not file.exists():
                MAKERS[file.name](file)
            super().do_GET()

        def log_message(self, *_args: object) -> None:
            return

    with serving(Handler) as url:
        yield url


def output_of(job: Json) -> Json:
    assert job["status"] == "succeeded", job["error"]
    output: Json = job["tasks"][-1]["output"]
    return output


def content_of(output: Json) -> io.BytesIO:
    return io.BytesIO(httpx.get(output["url"]).raise_for_status().content)


def error_of(job: Json) -> str:
    assert job["status"] == "failed", job
    assert job["error"]["kind"] == "invalid_input"
    return str(job["error"]["message"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.kind}")
def test_each_kind_of_file_comes_out_as_it_should(
    encoding: Running, odd_url: str, case: Case
) -> None:
    """Measured with PyAV and Pillow; what cannot be whole is no success."""
    job = encoding.run(input=f"{odd_url}/{case.name}", kind=case.kind, options=case.options)
    if case.error is not None:
        assert error_of(job).startswith(case.error)
        return
    output = output_of(job)
    if case.kind == "adaptive_video":
        assert (output["width"], output["height"]) == case.size
        assert output["duration"] == pytest.approx(case.seconds, abs=0.15)
        return
    found = measure(content_of(output).getvalue(), case.kind)
    assert found.get("size") == case.size
    if case.seconds is not None:
        assert found["seconds"] == pytest.approx(case.seconds, abs=0.15)
    if case.channels is not None:
        assert found["channels"] == case.channels
    if case.colour is not None:
        pairs = zip(found["colour"], case.colour, strict=True)
        assert all(abs(one - other) < 30 for one, other in pairs)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cut.mp4", "video"),
        ("cut.mp4", "audio"),
        ("cut.mp4", "animation"),
        ("cut.mp4", "adaptive_video"),
        ("cut.mkv", "video"),
        ("cut.wav", "audio"),
        ("cut.flac", "audio"),
    ],
)
def test_half_an_upload_is_no_success(
    encoding: Running, odd_url: str, name: str, kind: str
) -> None:
    """The reason gives both lengths: what is there, and what the header declares."""
    message = error_of(encoding.run(input=f"{odd_url}/{name}", kind=kind))
    assert message.startswith("the input breaks off after ")
    assert " s of the 20.0 s that its header declares" in message


def test_what_is_there_of_half_an_upload_can_be_had(encoding: Running, odd_url: str) -> None:
    """A part before the break is whole, and so is a poster; one behind it is not."""
    url = f"{odd_url}/cut.mp4"
    part = output_of(encoding.run(input=url, options={"start": 1, "end": 4}))
    assert part["duration"] == pytest.approx(3, abs=0.1)
    poster = encoding.run(input=url, kind="image", options={"start": 2})
    assert output_of(poster)["width"] == 320
    late = encoding.run(input=url, kind="image", options={"start": 15})
    assert error_of(late).startswith("the input breaks off after ")


@pytest.mark.parametrize(
    ("name", "lasts_s"), [("edit.mp4", 4.7), ("trailer.mp4", 3), ("subtitled.mkv", 3)]
)
def test_a_whole_file_is_not_taken_for_half_of_one(
    encoding: Running, odd_url: str, name: str, lasts_s: float
) -> None:
    """Neither hidden beginnings, nor what a camera appends, nor subtitles that outlast the film."""
    output = output_of(encoding.run(input=f"{odd_url}/{name}"))
    assert output["duration"] == pytest.approx(lasts_s, abs=0.15)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_shown_as_it_was_taken(
    encoding: Running, odd_url: str, orientation: int
) -> None:
    """Its orientation turns the frame with the picture: nothing is squashed."""
    job = encoding.run(
        input=f"{odd_url}/orientation-{orientation}.jpg",
        kind="image",
        options={"width": 200, "format": "png"},
    )
    output = output_of(job)
    expected = (200, 150) if orientation <= 4 else (200, 267)
    assert (output["width"], output["height"]) == expected
    with Image.open(content_of(output)) as picture:
        pixels = picture.convert("RGB")
        corners = [(5, 5), (194, 5), (194, expected[1] - 6), (5, expected[1] - 6)]
        blue: list[Any] = [pixels.getpixel(corner) for corner in corners]
    # Where the corner that was blue comes to lie: clockwise from the upper left.
    place = {1: 0, 2: 1, 3: 2, 4: 3, 5: 0, 6: 1, 7: 2, 8: 3}[orientation]
    assert [pixel[2] > 200 for pixel in blue] == [corner == place for corner in range(4)]


def test_a_film_of_a_phone_held_upright_stays_upright(encoding: Running, odd_url: str) -> None:
    """The rotation in its container turns the frame."""
    output = output_of(encoding.run(input=f"{odd_url}/rotated.mp4", options={"width": 120}))
    assert (output["width"], output["height"]) == (120, 160)


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_a_picture_in_tiles_is_made_whole(encoding: Running, odd_url: str, form: str) -> None:
    """Phones write HEIC and AVIF as a grid of tiles; the first tile alone is a quarter here."""
    job = encoding.run(input=f"{odd_url}/grid.avif", kind="image", options={"format": form})
    output = output_of(job)
    assert (output["width"], output["height"]) == (512, 512)
    with Image.open(content_of(output)) as picture:
        found: Any = picture.convert("RGB").getpixel((500, 500))
    assert all(abs(a - b) < 12 for a, b in zip(found, (250, 250, 128), strict=True))


@pytest.mark.parametrize("kind", ["video", "adaptive_video", "animation", "audio"])
def test_a_part_of_a_transport_stream_has_its_picture(
    encoding: Running, odd_url: str, kind: str
) -> None:
    """A search in it lands behind the only key frame: it is decoded from the beginning."""
    job = encoding.run(input=f"{odd_url}/sparse.ts", kind=kind, options={"start": 5, "end": 7})
    output = output_of(job)
    assert output["duration"] == pytest.approx(2, abs=0.25)
    assert ("width" in output) == (kind != "audio")
    if kind == "video":
        with av.open(content_of(output), mode="r") as container:
            assert sum(1 for _ in container.decode(video=0)) == pytest.approx(50, abs=2)


@pytest.mark.parametrize("start", [0, 5, 7.99])
def test_a_transport_stream_gives_a_poster_of_any_moment(
    encoding: Running, odd_url: str, start: float
) -> None:
    """Up to its last frame."""
    job = encoding.run(input=f"{odd_url}/sparse.ts", kind="image", options={"start": start})
    assert output_of(job)["width"] == 320


@pytest.mark.parametrize("name", ["front-centre.mov", "nine.mov", "surround.mp4"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("video", {}),
        ("video", {"format": "webm", "width": 64}),
        ("audio", {"format": "mp3"}),
        ("audio", {"format": "flac"}),
        ("adaptive_video", {"width": 64}),
    ],
)
def test_odd_sets_of_speakers_do_not_cost_the_picture(
    encoding: Running, odd_url: str, name: str, kind: str, options: Json
) -> None:
    """They are mixed down, or their first two channels are taken."""
    output = output_of(encoding.run(input=f"{odd_url}/{name}", kind=kind, options=options))
    assert output["duration"] == pytest.approx(2, abs=0.2)
    if kind != "adaptive_video":
        with av.open(content_of(output), mode="r") as container:
            expected = 6 if (name, options.get("format")) == ("surround.mp4", "flac") else 2
            assert container.streams.audio[0].codec_context.channels == expected


@pytest.mark.parametrize("name", ["pq.mp4", "hlg.mp4"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("video", {}), ("image", {"format": "jpeg"}), ("image", {"format": "png"})],
)
def test_high_dynamic_range_is_brought_into_what_every_player_shows(
    encoding: Running, odd_url: str, name: str, kind: str, options: Json
) -> None:
    """The output is neither flagged as HDR nor as grey as HDR looks where it is taken for SDR."""
    output = output_of(encoding.run(input=f"{odd_url}/{name}", kind=kind, options=options))
    if kind == "image":
        assert output["width"] == 320
        return
    with av.open(content_of(output), mode="r") as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv420p"
        assert int(frame.color_trc or 0) in {1, 2}, "BT.709, or unspecified"
        assert int(frame.color_primaries or 0) in {1, 2}


def test_a_recording_of_a_browser_is_a_film(encoding: Running, odd_url: str) -> None:
    """Its header has no length, and its frames tell it."""
    url = f"{odd_url}/recorded.webm"
    film = output_of(encoding.run(input=url))
    assert film["duration"] == pytest.approx(3, abs=0.1)
    frames = [
        content_of(output_of(encoding.run(input=url, kind="image", options={"start": start})))
        for start in (0.5, 2.5)
    ]
    assert frames[0].getvalue() != frames[1].getvalue()
    late = encoding.run(input=url, kind="image", options={"start": 4})
    assert error_of(late) == "start is 4 s, but the input ends at 3 s"


@pytest.mark.parametrize("name", ["clear.png", "palette.png"])
@pytest.mark.parametrize(
    ("options", "colour"),
    [
        ({"format": "jpeg"}, (255, 255, 255)),
        ({"format": "jpeg", "background": "#00ff00"}, (0, 255, 0)),
        ({"format": "avif"}, (255, 255, 255)),
    ],
)
def test_a_transparent_picture_is_laid_on_white_or_on_what_was_asked(
    encoding: Running, odd_url: str, name: str, options: Json, colour: tuple[int, int, int]
) -> None:
    """Where the output knows no transparency."""
    job = encoding.run(input=f"{odd_url}/{name}", kind="image", options=options)
    with Image.open(content_of(output_of(job))) as picture:
        found: Any = picture.convert("RGB").getpixel((32, 32))
    assert all(abs(a - b) < 12 for a, b in zip(found, colour, strict=True))


@pytest.mark.parametrize("form", ["png", "webp"])
def test_a_transparent_picture_stays_so_where_it_can(
    encoding: Running, odd_url: str, form: str
) -> None:
    job = encoding.run(input=f"{odd_url}/clear.png", kind="image", options={"format": form})
    with Image.open(content_of(output_of(job))) as picture:
        found: Any = picture.convert("RGBA").getpixel((32, 32))
    assert found[3] == 0


class _Picky(SimpleHTTPRequestHandler):
    """A store that signs addresses: whatever is not written as it was signed is refused."""

    content = b""
    signed = "/get/a%2Fb%26c.png?key=x%2By%40z&sig=%2F%3D+%20"

    def do_GET(self) -> None:
        if self.path in {"/moved", "/%C3%A9%20x.png"}:
            self.send_response(302)
            self.send_header("Location", self.signed)
            self.end_headers()
        elif self.path == self.signed:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.content)
        else:
            self.send_error(403)

    def log_message(self, *_args: object) -> None:
        return


@pytest.mark.parametrize("path", [_Picky.signed, "/moved", "/é x.png"])
def test_an_address_is_fetched_as_it_is_written(
    encoding: Running, odd_dir: Path, path: str
) -> None:
    """A signature covers the URL to the letter, also after a redirect; spaces are escaped."""
    transparent(odd_dir / "signed.png")
    _Picky.content = (odd_dir / "signed.png").read_bytes()
    with serving(_Picky) as url:
        output = output_of(encoding.run(input=f"{url}{path}", kind="image"))
    assert output["width"] == 64
