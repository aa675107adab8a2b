"""Video: MP4, MOV and WebM, with fast encoder settings for small machines."""

from typing import Final

from ittybit_sandbox.media.ffmpeg import Command
from ittybit_sandbox.media.geometry import Size, backdrop, frame_filters, target_size
from ittybit_sandbox.media.plan import (
    Recipe,
    cut,
    flat_filters,
    picture_stream,
    require_picture,
    sound_stream,
    stereo,
)
from ittybit_sandbox.media.probe import Probed
from ittybit_sandbox.options import VideoOptions
from ittybit_sandbox.vocabulary import Codec, Quality

_DEFAULT_CRF: Final = {Codec.H264: 24, Codec.H265: 28, Codec.VP9: 34, Codec.AV1: 38}
_CRF_STEP: Final = {
    Quality.VERY_LOW: 12,
    Quality.LOW: 7,
    Quality.MEDIUM: 2,
    Quality.HIGH: -3,
    Quality.VERY_HIGH: -7,
}
_MIN_SVT_PX: Final = 64
EVEN: Final = 2


def video_recipe(options: VideoOptions, probed: Probed, stem: str) -> Recipe:
    """Build the command for a video.

    Raises:
        JobFailure: The input has no video, or none at the requested time.
    """
    source = require_picture(probed)
    filters = flat_filters(probed, backdrop(options))
    filters += frame_filters(options, source, EVEN)
    if options.fps is not None:
        filters.append(f"fps={options.fps:g}")
    container = options.container
    part = cut(options, probed)
    after = (
        *part.after_input,
        *picture_stream(probed),
        *sound_stream(probed),
        *("-vf", ",".join(filters), "-sn", "-dn"),
        *_encoder(options, target_size(options, source, EVEN)),
        *("-pix_fmt", "yuv420p", *_rate(options)),
        *_sound(container, probed),
        *(() if container == "webm" else ("-movflags", "+faststart")),
        *("-f", container, f"{stem}.{container}"),
    )
    return Recipe(container, f"{stem}.{container}", (Command(part.before_input, after),))


def _encoder(options: VideoOptions, size: Size) -> tuple[str, ...]:
    codec = options.video_codec
    if codec is Codec.H264:
        return ("-c:v", "libx264", "-preset", "veryfast")
    if codec is Codec.H265:
        quiet = "log-level=error:pools=1:frame-threads=1"
        return ("-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", quiet)
    if codec is Codec.VP9:
        return ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-row-mt", "1")
    if min(size.width, size.height) < _MIN_SVT_PX:
        return ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8")
    return ("-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1")


def _rate(options: VideoOptions) -> tuple[str, ...]:
    if options.bitrate is not None:
        rate, window = str(options.bitrate), str(options.bitrate * 2)
        if options.video_codec is Codec.AV1:
            return ("-b:v", rate)
        return ("-b:v", rate, "-maxrate", rate, "-bufsize", window)
    step = _CRF_STEP[options.quality] if options.quality else 0
    crf = ("-crf", str(_DEFAULT_CRF[options.video_codec] + step))
    return (*crf, "-b:v", "0") if options.video_codec is Codec.VP9 else crf


def _sound(container: str, probed: Probed) -> tuple[str, ...]:
    if not probed.has_audio:
        return ()
    if container == "webm":
        return ("-c:a", "libopus", "-b:a", "96k", *stereo(probed))
    return ("-c:a", "aac", "-b:a", "128k", *stereo(probed))
