"""Small media as cameras, phones, recorders and broken uploads write them, one file a kind.

    python -m tests.sandbox.library FOLDER

makes them all in a folder, runs each through a sandbox and prints what came of it as a table.
"""

import functools
import io
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import httpx
from PIL import Image

from tests.sandbox.harness import Json, make_media, running

FILES = Path(__file__).with_name("files")
FILM = ("-f", "lavfi", "-i", "testsrc=d={0}:s=320x240:rate=25")
TONE = ("-f", "lavfi", "-i", "sine=d={0}")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
HDR = "log-level=error:colorprim=bt2020:transfer={}:colormatrix=bt2020nc"


def lasting(seconds: float, *arguments: str) -> tuple[str, ...]:
    return tuple(each.format(seconds) for each in arguments)


def film(path: Path, *codecs: str, seconds: float = 8) -> Path:
    return make_media(path, *lasting(seconds, *FILM, *TONE), *(codecs or (*H264, "-c:a", "aac")))


def half(path: Path, *codecs: str) -> None:
    """Make 20 seconds, and lose the second half of the bytes."""
    whole = film(path, *codecs, seconds=20) if codecs else film(path, seconds=20)
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])


def faststart(path: Path) -> None:
    half(path, *H264, "-c:a", "aac", "-movflags", "+faststart")


def edit_list(path: Path) -> None:
    whole = film(path.with_name("whole.mp4"), seconds=8)
    make_media(path, "-ss", "3.3", "-i", str(whole), "-c", "copy")


def with_trailer(path: Path) -> None:
    film(path, seconds=3)
    with path.open("ab") as file:
        file.write(bytes(range(0xF0, 0xFF)) + b"8db42d694ccc418790edff439fe026bf")


def longer_subtitles(path: Path) -> None:
    lines = path.with_suffix(".srt")
    lines.write_text("1\n00:00:00,000 --> 00:00:12,000\nFin\n")
    film(path.with_name("short.mkv"), seconds=3)
    short = str(path.with_name("short.mkv"))
    make_media(path, "-i", short, "-i", str(lines), "-map", "0", "-map", "1", "-c", "copy")


def turned(orientation: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        picture = Image.new("RGB", (400, 300), "red")
        picture.paste("blue", (0, 0, 200, 150))
        exif = picture.getexif()
        exif[0x0112] = orientation
        picture.save(path, exif=exif)

    return make


def transparent(path: Path) -> None:
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(path)


def palette(path: Path) -> None:
    picture = Image.new("P", (64, 64), 0)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.save(path, transparency=0)


def rotated_film(path: Path) -> None:
    film(path.with_name("upright.mp4"), seconds=2)
    upright = str(path.with_name("upright.mp4"))
    make_media(path, "-display_rotation", "90", "-i", upright, "-c", "copy")


def high_range(transfer: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        codec = ("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-preset", "ultrafast")
        make_media(path, *lasting(1, *FILM), *codec, "-x265-params", HDR.format(transfer))

    return make


def speakers(layout: str, *codecs: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        source = (*lasting(2, *FILM), "-f", "lavfi", "-i", layout)
        make_media(path, *source, "-shortest", *H264, *codecs)

    return make


def recorded(path: Path) -> None:
    """What a browser's recorder writes: to a pipe, so that the length is never filled in."""
    with path.open("wb") as out:
        piped = path.with_name("piped.webm")
        make_media(piped, *lasting(3, *FILM), "-c:v", "libvpx", "-f", "webm", "-live", "1")
        out.write(piped.read_bytes())


def broken(form: str) -> Callable[[Path], None]:
    """Make a picture in which no two pixels are alike, and lose the second half of the bytes."""

    def make(path: Path) -> None:
        whole = io.BytesIO()
        Image.effect_noise((320, 240), 80).convert("RGB").save(whole, form)
        path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])

    return make


def without_length(path: Path) -> None:
    make_media(path, "-f", "lavfi", "-i", "sine=d=4", "-write_xing", "0")


def moving(path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), (number * 20, 0, 0)) for number in range(10)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)


def clear_film(*codecs: str) -> Callable[[Path], object]:
    source = ("-f", "lavfi", "-i", "color=red@0.0:s=64x64:d=1,format=yuva444p10le")
    return lambda path: make_media(path, *source, *codecs)


def grey_alpha(path: Path) -> None:
    Image.new("LA", (64, 64), (0, 0)).save(path)


def unknown_track(path: Path) -> None:
    """Make a film whose first audio track has no decoder, as in recordings of some phones."""
    codecs = ("-c:a:0", "pcm_s16le", "-c:a:1", "aac", "-map", "0", "-map", "1", "-map", "2")
    source = (*lasting(2, *FILM), *lasting(2, *TONE), *lasting(2, *TONE))
    make_media(path, *source, *H264, *codecs)
    path.write_bytes(path.read_bytes().replace(b"sowt", b"zzzz"))


MAKERS: dict[str, Callable[[Path], object]] = {
    "cut.mp4": faststart,
    "cut-index.mp4": lambda path: half(
        path, *H264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+global_sidx", "-g", "25"
    ),
    "cut-fragments.mp4": lambda path: half(
        path, *H264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-g", "25"
    ),
    "cut.mov": lambda path: half(path, *H264, "-c:a", "aac"),
    "cut.webm": lambda path: half(path, "-c:v", "libvpx", "-deadline", "realtime"),
    "cut.avi": lambda path: half(path, "-c:v", "mpeg4", "-c:a", "mp3"),
    "cut.flv": lambda path: half(path, *H264, "-c:a", "aac"),
    "cut.mxf": lambda path: half(path, "-c:v", "mpeg2video", "-ar", "48000"),
    "cut.aiff": lambda path: half(path, "-map", "1:a", "-c:a", "pcm_s16be"),
    "cut.m4a": lambda path: half(path, "-map", "1:a", "-c:a", "aac", "-movflags", "+faststart"),
    "cut.mp3": lambda path: half(path, "-map", "1:a"),
    "cut.jpg": broken("JPEG"),
    **{f"cut.{form}": broken(form) for form in ("png", "webp", "gif", "tiff", "avif")},
    "no-length.mp3": without_length,
    **{f"orientation.{form}": turned(6) for form in ("jpg", "png", "webp", "tiff", "avif")},
    "anamorphic.mp4": lambda path: make_media(path, *lasting(2, *FILM), *H264, "-vf", "setsar=4/3"),
    "cut.mkv": lambda path: half(path, *H264, "-c:a", "aac"),
    "cut.wav": lambda path: half(path, "-map", "1:a", "-c:a", "pcm_s16le"),
    "cut.flac": lambda path: half(path, "-map", "1:a", "-c:a", "flac"),
    "edit.mp4": edit_list,
    "trailer.mp4": with_trailer,
    "subtitled.mkv": longer_subtitles,
    **{f"orientation-{number}.jpg": turned(number) for number in range(1, 9)},
    "rotated.mp4": rotated_film,
    "grid.avif": lambda path: shutil.copy(FILES / "grid.avif", path),
    "sparse.ts": lambda path: film(path, *H264, "-g", "250", "-c:a", "aac"),
    "sparse.mpg": lambda path: film(path, "-c:v", "mpeg2video", "-g", "200", "-c:a", "mp2"),
    "sparse.flv": lambda path: film(path, *H264, "-g", "250", "-c:a", "aac"),
    "sparse.mkv": lambda path: film(path, *H264, "-g", "250", "-c:a", "aac"),
    "sparse.avi": lambda path: film(path, "-c:v", "mpeg4", "-g", "250", "-c:a", "mp3"),
    "unknown-track.mov": unknown_track,
    "front-centre.mov": speakers("aevalsrc=0.1|0.1:d=2:c=FL+FC", "-c:a", "pcm_s16le"),
    "nine.mov": speakers("aevalsrc=" + "|".join(["0.1"] * 9) + ":d=2", "-c:a", "pcm_s16le"),
    "surround.mp4": speakers("aevalsrc=" + "|".join(["0.1"] * 6) + ":d=2:c=5.1", "-c:a", "aac"),
    "pq.mp4": high_range("smpte2084"),
    "hlg.mp4": high_range("arib-std-b67"),
    "recorded.webm": recorded,
    "recorded.mp4": lambda path: film(
        path, *H264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", seconds=3
    ),
    "recorded.flv": lambda path: film(
        path, *H264, "-c:a", "aac", "-flvflags", "no_duration_filesize", seconds=3
    ),
    "raw.h264": lambda path: make_media(path, *lasting(3, *FILM), *H264),
    "moving.webp": moving,
    "moving.gif": moving,
    "short.mp4": lambda path: film(path, seconds=1),
    "grey-alpha.png": grey_alpha,
    "clear.webm": clear_film("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p"),
    "clear.mov": clear_film("-c:v", "prores_ks", "-pix_fmt", "yuva444p10le"),
    **{f"clear.{form}": transparent for form in ("png", "webp", "avif", "gif", "tiff")},
    "palette.png": palette,
}


@dataclass(frozen=True)
class Case:
    """One file, one job, and what must come of it.

    Args:
        row: The kind of fault that it belongs to.
        name: The file.
        kind: Kind of the job.
        options: Options of the job.
        size: Pixels across and down.
        seconds: How long it plays.
        channels: Channels of its sound.
        colour: RGB in the middle of the picture.
        error: How the message of the failure begins.
    """

    row: str
    name: str
    kind: str
    options: Json = field(default_factory=dict)
    size: tuple[int, int] | None = None
    seconds: float | None = None
    channels: int | None = None
    colour: tuple[int, int, int] | None = None
    error: str | None = None


FULL = (320, 240)
CUT = "the input breaks off after "
HALF_A_PICTURE = "the picture breaks off"
WHITE = (255, 255, 255)
CASES: tuple[Case, ...] = (
    *(
        Case("half an upload", name, kind, error=CUT)
        for name, kind in (
            ("cut.mp4", "video"),
            ("cut-index.mp4", "video"),
            ("cut-fragments.mp4", "video"),
            ("cut.mkv", "video"),
            ("cut.webm", "video"),
            ("cut.avi", "video"),
            ("cut.flv", "video"),
            ("cut.mxf", "video"),
            ("cut.wav", "audio"),
            ("cut.flac", "audio"),
            ("cut.aiff", "audio"),
            ("cut.m4a", "audio"),
            ("cut.mp3", "audio"),
        )
    ),
    Case("half an upload", "cut.mov", "video", error="could not decode the input"),
    *(
        Case("half a picture", f"cut.{form}", "image", error=HALF_A_PICTURE)
        for form in ("jpg", "png", "webp", "gif", "tiff", "avif")
    ),
    Case("not half of one", "edit.mp4", "video", size=FULL, seconds=4.7),
    Case("not half of one", "trailer.mp4", "video", size=FULL, seconds=3),
    Case("not half of one", "subtitled.mkv", "video", size=FULL, seconds=3),
    Case("not half of one", "no-length.mp3", "audio", seconds=4),
    *(
        Case("orientation", f"orientation.{form}", "image", {"width": 200}, size=(200, 267))
        for form in ("jpg", "png", "webp", "tiff", "avif")
    ),
    Case("orientation", "rotated.mp4", "video", {"width": 120}, size=(120, 160), seconds=2),
    Case("orientation", "rotated.mp4", "image", {"width": 120}, size=(120, 160)),
    Case("orientation", "anamorphic.mp4", "image", size=(427, 240)),
    Case("tiles", "grid.avif", "image", {"format": "png"}, size=(512, 512)),
    *(
        Case("few key frames", name, "video", {"start": 5, "end": 7}, size=FULL, seconds=2)
        for name in ("sparse.ts", "sparse.mpg", "sparse.flv", "sparse.mkv", "sparse.avi")
    ),
    Case("few key frames", "sparse.ts", "image", {"start": 5}, size=FULL),
    Case("few key frames", "sparse.mpg", "image", {"start": 5}, size=FULL),
    Case("tracks", "front-centre.mov", "video", size=FULL, seconds=2, channels=2),
    Case("tracks", "nine.mov", "video", size=FULL, seconds=2, channels=2),
    Case("tracks", "surround.mp4", "video", size=FULL, seconds=2, channels=2),
    Case("tracks", "unknown-track.mov", "video", size=FULL, seconds=2, channels=2),
    Case("tracks", "unknown-track.mov", "audio", seconds=2, channels=2),
    Case("tracks", "unknown-track.mov", "adaptive_video", size=FULL, seconds=2),
    Case("HDR", "pq.mp4", "video", size=FULL, seconds=1, colour=(250, 190, 60)),
    Case("HDR", "hlg.mp4", "video", size=FULL, seconds=1),
    Case("HDR", "pq.mp4", "animation", {"end": 0.5}, size=FULL, seconds=0.5),
    Case("HDR", "pq.mp4", "image", {"format": "png"}, size=FULL, colour=(250, 190, 60)),
    Case("no length", "recorded.webm", "video", size=FULL, seconds=3),
    Case("no length", "recorded.webm", "video", {"start": 1, "end": 2}, size=FULL, seconds=1),
    Case("no length", "recorded.webm", "image", {"start": 2.5}, size=FULL),
    Case("no length", "recorded.mp4", "video", {"start": 1, "end": 2}, size=FULL, seconds=1),
    Case("no length", "recorded.flv", "image", {"start": 1}, size=FULL),
    Case("no length", "raw.h264", "video", size=FULL, seconds=3),
    Case("no length", "moving.webp", "video", size=(64, 64), seconds=1),
    Case("no length", "moving.gif", "image", {"start": 0.5}, size=(64, 64)),
    *(
        Case("transparency", name, "image", {"format": "jpeg"}, size=(64, 64), colour=WHITE)
        for name in (
            "clear.png",
            "palette.png",
            "grey-alpha.png",
            "clear.webp",
            "clear.avif",
            "clear.gif",
            "clear.tiff",
            "clear.webm",
            "clear.mov",
        )
    ),
    Case("transparency", "clear.webm", "video", size=(64, 64), seconds=1, colour=WHITE),
    Case("transparency", "clear.mov", "video", size=(64, 64), seconds=1, colour=WHITE),
    Case("start past the end", "short.mp4", "image", {"start": 0.99}, size=FULL),
    Case(
        "start past the end",
        "short.mp4",
        "image",
        {"start": 2},
        error="start is 2 s, but the input ends at 1 s",
    ),
)


def measure(content: bytes, kind: str) -> Json:
    """Measure an output with PyAV or Pillow: the keys are those of `Case`."""
    if kind in {"image", "animation"}:
        with Image.open(io.BytesIO(content)) as picture:
            size = picture.size
            shown_ms = 0
            for number in range(getattr(picture, "n_frames", 1)):
                picture.seek(number)
                shown_ms += int(picture.info.get("duration", 0))
            picture.seek(0)
            middle: Any = picture.convert("RGB").getpixel((size[0] // 2, size[1] // 2))
        found: Json = {"size": size, "colour": middle}
        return found | ({"seconds": shown_ms / 1000} if shown_ms else {})
    with av.open(io.BytesIO(content), mode="r") as container:
        found = {"seconds": round((container.duration or 0) / av.time_base, 2)}
        if container.streams.audio:
            found["channels"] = container.streams.audio[0].codec_context.channels
        if container.streams.video:
            frame = next(container.decode(video=0))
            shown: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
            found |= {
                "size": shown.size,
                "colour": shown.getpixel((shown.width // 2, shown.height // 2)),
            }
    return found


def main() -> int:
    """Make every file, run every case, print a Markdown table; the argument is the folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in MAKERS.items():
        if not (folder / name).exists():
            make(folder / name)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("| kind | input | job | output, measured |\n|---|---|---|---|")
    with running() as sandbox:
        for case in CASES:
            url = f"http://127.0.0.1:{server.server_address[1]}/{case.name}"
            job = sandbox.run(input=url, kind=case.kind, options=case.options)
            if job["status"] == "failed":
                said = f"{job['error']['kind']}: {job['error']['message']}"
            elif case.kind == "adaptive_video":
                said = str(job["tasks"][-1]["output"])
            else:
                said = str(measure(httpx.get(job["output"]).content, case.kind))
            print(f"| {case.row} | {case.name} | {case.kind} {case.options or ''} | {said} |")
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
