"""The demo's library."""

import hashlib
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from ittybatch_local import media
from ittybatch_local.errors import StackError
from ittybatch_local.media import make_broken, make_media


def _probe(path: Path) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, check=False, capture_output=True, text=True).stderr


def _digests(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    make_media(folder)
    return folder


def test_the_library_is_what_its_names_say(library: Path) -> None:
    """Three videos with sound, two pieces of audio, three pictures."""
    shown = {path.name: _probe(path) for path in make_media(library)}
    for name, size in (
        ("test-card-720p.mp4", "1280x720"),
        ("colour-bars-1080p.mov", "1920x1080"),
        ("fractal-zoom-360p.mkv", "640x360"),
    ):
        assert "Video: h264" in shown[name]
        assert size in shown[name]
        assert "Audio: aac" in shown[name]
    assert "44100 Hz" in shown["melody-44khz.wav"]
    assert "stereo" in shown["chord-stereo-48khz.flac"]
    assert "1600x1200" in shown["fractal-1600x1200.jpg"]
    assert "1024x768" in shown["gradient-1024x768.png"]


def test_the_same_recipe_gives_the_same_bytes(library: Path, tmp_path: Path) -> None:
    """So a second run of the demo finds its items unchanged."""
    assert _digests(make_media(tmp_path)) == _digests(make_media(library))


def test_what_is_there_is_kept_and_what_is_missing_made(library: Path) -> None:
    """Only the first call is slow."""
    before = {path: path.stat().st_mtime_ns for path in make_media(library)}
    missing = library / "gradient-1024x768.png"
    missing.unlink()
    after = {path: path.stat().st_mtime_ns for path in make_media(library)}
    assert {path for path in after if after[path] != before[path]} == {missing}


def test_a_changed_recipe_is_rendered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer version's library replaces an older one's."""
    for size in ("16x16", "32x32"):
        recipe = ("-f", "lavfi", "-i", f"testsrc=size={size}", "-frames:v", "1", "-update", "1")
        monkeypatch.setattr(media, "RECIPES", {"a.png": recipe})
        (path,) = make_media(tmp_path)
        assert size in _probe(path)


def test_ffmpegs_own_words_are_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no partial file is left."""
    monkeypatch.setattr(media, "RECIPES", {"a.png": ("-f", "lavfi", "-i", "nosuchsource")})
    with pytest.raises(StackError, match=r"(?s)could not make a\.png: .*nosuchsource"):
        make_media(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_broken_file_is_no_video(tmp_path: Path) -> None:
    """It has a header, but no index."""
    path = make_broken(tmp_path / "in" / "broken.mp4")
    assert "moov atom not found" in _probe(path)
    assert make_broken(tmp_path / "again.mp4").read_bytes() == path.read_bytes()
