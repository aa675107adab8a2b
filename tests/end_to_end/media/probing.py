"""Outputs as PyAV and Pillow see them: neither is what made them."""

import io
from dataclasses import dataclass

import av
from PIL import Image


@dataclass(frozen=True, slots=True)
class Seen:
    """What a file turns out to be; `codecs` by type of stream."""

    format: str
    codecs: dict[str, str]
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None

    @property
    def aspect(self) -> float:
        """Width for each pixel of height."""
        assert self.width
        assert self.height
        return self.width / self.height


def probe_media(content: bytes) -> Seen:
    """Look into a video or a recording, and decode some of it."""
    with av.open(io.BytesIO(content), "r") as container:
        codecs = {str(stream.type): stream.codec_context.name for stream in container.streams}
        duration_s = container.duration / av.time_base if container.duration else None
        picture = next(iter(container.streams.video), None)
        assert next(container.decode(picture or container.streams.audio[0]))
        return Seen(
            container.format.name,
            codecs,
            picture.width if picture else None,
            picture.height if picture else None,
            duration_s,
        )


def probe_picture(content: bytes) -> Seen:
    """Look into a picture, and decode all of it."""
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        return Seen((picture.format or "").lower(), {}, picture.width, picture.height)
