"""Adaptive video: HLS with a main playlist of a few variants, or of audio only."""

from typing import Final

from ittybit_sandbox.errors import JobFailure
from ittybit_sandbox.media.audio import BITRATES_BPS
from ittybit_sandbox.media.ffmpeg import Command
from ittybit_sandbox.media.geometry import Size, backdrop, frame_filters, target_size
from ittybit_sandbox.media.plan import (
    Recipe,
    cut,
    flat_filters,
    require_picture,
    sound_stream,
    stereo,
)
from ittybit_sandbox.media.probe import Probed
from ittybit_sandbox.media.video import EVEN
from ittybit_sandbox.options import AdaptiveOptions
from ittybit_sandbox.vocabulary import ErrorKind, Quality

_SEGMENT_S: Final = 4
_MAX_VARIANTS: Final = 3
_MIN_HEIGHT_PX: Final = 180
_CRF: Final = dict(zip(Quality, ("36", "31", "26", "22", "18"), strict=True))


def adaptive_recipe(options: AdaptiveOptions, probed: Probed, stem: str) -> Recipe:
    """Build the commands for an HLS package; its main playlist is the output.

    Raises:
        JobFailure: The input has neither video nor audio, or nothing at the requested time.
    """
    if not probed.has_video and not probed.has_audio:
        raise JobFailure(ErrorKind.INVALID_INPUT, "the input has neither video nor audio")
    streams = _video(options, probed) if probed.has_video else _audio_only(options, probed)
    name = f"{stem}.m3u8"
    part = cut(options, probed)
    after = (
        *part.after_input,
        *streams,
        *("-sn", "-dn", "-f", "hls", "-hls_time", str(_SEGMENT_S), "-hls_playlist_type", "vod"),
        *("-hls_segment_filename", f"{stem}_v%v_%03d.ts", "-master_pl_name", name),
        f"{stem}_v%v.m3u8",
    )
    return Recipe("hls", name, (Command(part.before_input, after),))


def _sizes(top: Size) -> list[Size]:
    sizes = [top]
    while len(sizes) < _MAX_VARIANTS and sizes[-1].height // 2 >= _MIN_HEIGHT_PX:
        last = sizes[-1]
        sizes.append(Size(last.width // 2, last.height // 2).rounded(EVEN))
    return sizes


def _video(options: AdaptiveOptions, probed: Probed) -> tuple[str, ...]:
    source = require_picture(probed)
    sizes = _sizes(target_size(options, source, EVEN))
    filters = flat_filters(probed, backdrop(options))
    filters += frame_filters(options, source, EVEN)
    if options.fps is not None:
        filters.append(f"fps={options.fps:g}")
    outputs = "".join(f"[s{number}]" for number in range(len(sizes)))
    graph = [
        f"[0:{probed.video_index}]{','.join(filters)},format=yuv420p,split={len(sizes)}{outputs}"
    ]
    graph += [
        f"[s{number}]scale={size.width}:{size.height}:flags=bicubic[v{number}]"
        for number, size in enumerate(sizes)
    ]
    maps: list[str] = []
    for number in range(len(sizes)):
        maps += ["-map", f"[v{number}]"]
        maps += sound_stream(probed)
    variants = " ".join(
        f"v:{number},a:{number}" if probed.has_audio else f"v:{number}"
        for number in range(len(sizes))
    )
    crf = _CRF[options.quality or Quality.MEDIUM]
    keys = f"expr:gte(t,n_forced*{_SEGMENT_S})"
    return (
        *("-filter_complex", ";".join(graph), *maps, "-var_stream_map", variants),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", crf, "-force_key_frames", keys),
        *(("-c:a", "aac", "-b:a", "128k", *stereo(probed)) if probed.has_audio else ()),
    )


def _audio_only(options: AdaptiveOptions, probed: Probed) -> tuple[str, ...]:
    rate = str(BITRATES_BPS[options.quality or Quality.MEDIUM])
    encoder = ("-c:a", "aac", "-b:a", rate, *stereo(probed))
    return (*sound_stream(probed), "-vn", "-var_stream_map", "a:0", *encoder)
