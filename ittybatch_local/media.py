"""A small media library to try things on, drawn and composed by ffmpeg: nobody's property."""

import hashlib
import importlib.util
import json
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ittybatch_local.errors import StackError

RENDER_WITHIN_S = 120.0
STAMP = ".recipes.json"
BROKEN_BYTES = 65_536

_CHORD = "aevalsrc='0.2*(sin(2*PI*{0}*t)+sin(2*PI*{1}*t)+sin(2*PI*{2}*t))':s=48000:c=mono"
_MELODY = (
    # Eight notes of a major scale, half a second each, every one plucked: loud, then fading.
    "aevalsrc='0.5*exp(-4*mod(t,0.5))*sin(2*PI*t*220*pow(2,"
    "(2*floor(mod(2*t,8))-gte(mod(2*t,8),3)-gte(mod(2*t,8),7))/12))':s=44100:c=mono"
)
_H264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac")


def _video(picture: str, sound: str, duration_s: int, *codecs: str) -> tuple[str, ...]:
    inputs = ("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound)
    return (*inputs, "-t", str(duration_s), *codecs)


def _audio(sound: str, duration_s: int, *codecs: str) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", sound, "-t", str(duration_s), *codecs)


def _picture(picture: str, *codecs: str) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", picture, "-frames:v", "1", "-update", "1", *codecs)


RECIPES: Mapping[str, tuple[str, ...]] = {
    "test-card-720p.mp4": _video(
        "testsrc2=size=1280x720:rate=30", "sine=frequency=440:beep_factor=4", 6, *_H264
    ),
    "colour-bars-1080p.mov": _video(
        "smptehdbars=size=1920x1080:rate=25", _CHORD.format(220, 277.18, 329.63), 5, *_H264
    ),
    "fractal-zoom-360p.mkv": _video(
        "mandelbrot=size=640x360:rate=24:maxiter=400", _CHORD.format(196, 246.94, 293.66), 4, *_H264
    ),
    "melody-44khz.wav": _audio(_MELODY, 8, "-c:a", "pcm_s16le"),
    "chord-stereo-48khz.flac": _audio(
        f"{_CHORD.format(261.63, 329.63, 392)},pan=stereo|c0=c0|c1=0.6*c0", 10, "-c:a", "flac"
    ),
    "fractal-1600x1200.jpg": _picture("mandelbrot=size=1600x1200:maxiter=1000", "-q:v", "3"),
    "gradient-1024x768.png": _picture(
        # Colours and ends are random unless given.
        "gradients=size=1024x768:rate=1:nb_colors=3:c0=0x102a43:c1=0xd64545:c2=0xf7d070"
        ":x0=0:y0=0:x1=1023:y1=767"
    ),
    "colour-wheel-800x800.png": _picture("testsrc=size=800x800:rate=1"),
}


def make_media(folder: Path) -> list[Path]:
    """Render the demo's library: three videos with sound, two pieces of audio, three pictures.

    What is there already and made by the same recipe is kept, so only the first call is slow.

    Args:
        folder: Where to put it; made if need be.

    Returns:
        The files, in the order of the recipes.

    Raises:
        StackError: ffmpeg is missing or failed, with what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / STAMP
    made = _made(stamp)
    for name, recipe in RECIPES.items():
        digest = hashlib.sha256("\0".join(recipe).encode()).hexdigest()
        if made.get(name) != digest or not (folder / name).exists():
            _render(recipe, folder / name)
            made[name] = digest
            stamp.write_text(json.dumps(made, indent=2) + "\n")
    return [folder / name for name in RECIPES]


def make_broken(path: Path) -> Path:
    """Write a file that looks like a video and is none: a header, then noise and no index."""
    header = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
    noise = random.Random(0).randbytes(BROKEN_BYTES)  # noqa: S311 - the same noise each time
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + (8 + BROKEN_BYTES).to_bytes(4, "big") + b"mdat" + noise)
    return path


def _render(recipe: tuple[str, ...], path: Path) -> None:
    # Whoever lists the folder meanwhile must not see half a file; the suffix chooses the format.
    draft = path.with_name(f".draft-{path.name}")
    command = [
        *(_ffmpeg(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y"),
        *recipe,
        # Without dates, versions and random ids, the same recipe gives the same bytes; so does
        # a fixed number of threads, which x264 would otherwise take from the machine.
        *("-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact", "-threads", "2"),
        str(draft),
    ]
    try:
        subprocess.run(  # noqa: S603 - our own arguments
            command, check=True, capture_output=True, text=True, timeout=RENDER_WITHIN_S
        )
    except subprocess.CalledProcessError as error:
        draft.unlink(missing_ok=True)
        raise StackError(f"ffmpeg could not make {path.name}: {error.stderr.strip()}") from None
    except subprocess.TimeoutExpired:
        draft.unlink(missing_ok=True)
        raise StackError(f"ffmpeg took over {RENDER_WITHIN_S:g} s for {path.name}.") from None
    draft.replace(path)


def _ffmpeg() -> str:
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise StackError("ffmpeg is not installed.", remedy="pip install 'ittybatch[local]'")
    import imageio_ffmpeg  # noqa: PLC0415 - an extra; the stack can do without demo media

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _made(stamp: Path) -> dict[str, str]:
    try:
        content = json.loads(stamp.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
