"""Images: a picture in another size or format, or a video frame."""

from typing import Final

from ittybit_sandbox.errors import JobFailure
from ittybit_sandbox.media.ffmpeg import Command
from ittybit_sandbox.media.geometry import Size, backdrop, frame_filters
from ittybit_sandbox.media.plan import (
    Recipe,
    flat_filters,
    picture_stream,
    require_moment,
    require_whole,
    sdr_filters,
)
from ittybit_sandbox.media.probe import Probed
from ittybit_sandbox.options import ImageOptions
from ittybit_sandbox.vocabulary import ErrorKind, Quality

_JPEG_SCALE: Final = dict(zip(Quality, ("20", "12", "5", "3", "2"), strict=True))
_WEBP_QUALITY: Final = dict(zip(Quality, ("30", "50", "75", "85", "95"), strict=True))
_AVIF_CRF: Final = dict(zip(Quality, ("50", "42", "32", "24", "16"), strict=True))
_TRANSPARENT: Final = frozenset({"png", "webp"})
_LAST_FRAME_WITHIN_S: Final = 1.0


def image_recipe(options: ImageOptions, probed: Probed, stem: str) -> Recipe:
    """Build the commands for an image.

    Raises:
        JobFailure: The input has no picture, or none at the requested time.
    """
    if not probed.width or not probed.height:
        raise JobFailure(ErrorKind.INVALID_INPUT, "the input has no picture")
    form = options.format or probed.still_format or "jpeg"
    name = f"{stem}.{'jpg' if form == 'jpeg' else form}"
    flat = form not in _TRANSPARENT
    own = flat_filters(probed, backdrop(options)) if flat else sdr_filters(probed)
    filters = ",".join([*own, *frame_filters(options, Size(probed.width, probed.height))])
    encoder = (*_encoder(form, options.quality or Quality.MEDIUM), name)
    return Recipe(form, name, _commands(options, probed, filters, encoder))


def _commands(
    options: ImageOptions, probed: Probed, filters: str, encoder: tuple[str, ...]
) -> tuple[Command, ...]:
    one = (*picture_stream(probed), "-an", "-frames:v", "1")
    plain = (*one, "-vf", filters, *encoder)
    still = probed.still_format is not None or probed.cover_only
    if still or not options.start:
        return (Command((), plain),)
    require_whole(probed, options.start)
    require_moment(probed, options.start)
    # Between the last frame and the end of the video, take the last frame.
    held = "tpad=stop=-1:stop_mode=clone,trim=start={:.6f}," + filters
    if not probed.seekable:
        late = ("-ss", f"{options.start:.6f}")
        from_start = (*one, "-vf", held.format(options.start), *encoder)
        return (Command((), (*late, *plain)), Command((), from_start))
    before_s = min(options.start, _LAST_FRAME_WITHIN_S)
    begin = ("-ss", f"{options.start - before_s:.6f}")
    return (
        Command(("-ss", f"{options.start:.6f}"), plain),
        Command(begin, (*one, "-vf", held.format(before_s), *encoder)),
    )


def _encoder(form: str, quality: Quality) -> tuple[str, ...]:
    if form == "jpeg":
        pixels = ("-pix_fmt", "yuvj420p", "-strict", "unofficial", "-update", "1")
        return ("-c:v", "mjpeg", "-q:v", _JPEG_SCALE[quality], *pixels, "-f", "image2")
    if form == "png":
        return ("-c:v", "png", "-update", "1", "-f", "image2")
    if form == "webp":
        return ("-c:v", "libwebp", "-quality", _WEBP_QUALITY[quality], "-f", "webp")
    rate = ("-crf", _AVIF_CRF[quality], "-cpu-used", "8", "-still-picture", "1")
    return ("-c:v", "libaom-av1", *rate, "-pix_fmt", "yuv420p", "-f", "avif")
