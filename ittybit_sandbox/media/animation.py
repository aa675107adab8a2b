"""Animations: GIF with its own palette, or animated WebP."""

from typing import Final

from ittybit_sandbox.media.ffmpeg import Command
from ittybit_sandbox.media.geometry import frame_filters
from ittybit_sandbox.media.plan import (
    FRAME_LIST,
    Recipe,
    cut,
    picture_stream,
    require_picture,
    sdr_filters,
)
from ittybit_sandbox.media.probe import Probed
from ittybit_sandbox.options import AnimationOptions
from ittybit_sandbox.vocabulary import Quality

_COLOURS: Final = dict(zip(Quality, (32, 64, 128, 192, 256), strict=True))
_WEBP_QUALITY: Final = dict(zip(Quality, ("30", "50", "70", "85", "95"), strict=True))


def animation_recipe(options: AnimationOptions, probed: Probed, stem: str) -> Recipe:
    """Build the command for an animation.

    Raises:
        JobFailure: The input has no video, or none at the requested time.
    """
    source = require_picture(probed)
    part = cut(options, probed)
    timing = f"fps={options.fps:g}"
    filters = ",".join([timing, *sdr_filters(probed), *frame_filters(options, source)])
    quality = options.quality or Quality.MEDIUM
    name = f"{stem}.{options.format}"
    if options.format == "gif":
        palette = f"palettegen=max_colors={_COLOURS[quality]}"
        filters += f",split[a][b];[a]{palette}[p];[b][p]paletteuse"
        encoder: tuple[str, ...] = ("-c:v", "gif", "-loop", "0", "-f", "gif")
    else:
        rate = ("-quality", _WEBP_QUALITY[quality], "-compression_level", "2")
        encoder = ("-c:v", "libwebp_anim", *rate, "-loop", "0", "-f", "webp")
    picture = (*part.after_input, *picture_stream(probed), "-an", "-vf")
    command = Command(part.before_input, (*picture, filters, *encoder, name))
    listing = Command(part.before_input, (*picture, timing, "-f", "framecrc", FRAME_LIST))
    return Recipe(options.format, name, (command,), listing, options.fps)
