"""Audio in six formats, from the input's first audio stream."""

from typing import Final

from ittybit_sandbox.media.ffmpeg import Command
from ittybit_sandbox.media.plan import Recipe, cut, require_sound, sound_stream, stereo
from ittybit_sandbox.media.probe import Probed
from ittybit_sandbox.options import AudioOptions
from ittybit_sandbox.vocabulary import Quality

BITRATES_BPS: Final = {
    Quality.VERY_LOW: 64_000,
    Quality.LOW: 96_000,
    Quality.MEDIUM: 128_000,
    Quality.HIGH: 192_000,
    Quality.VERY_HIGH: 256_000,
}
_ENCODERS: Final = {
    "mp3": ("libmp3lame", "mp3"),
    "aac": ("aac", "adts"),
    "ogg": ("libvorbis", "ogg"),
    "opus": ("libopus", "opus"),
    "wav": ("pcm_s16le", "wav"),
    "flac": ("flac", "flac"),
}
LOSSLESS: Final = frozenset({"wav", "flac"})
# Vorbis refuses lower rates at full bandwidth.
_VORBIS_FULL_BANDWIDTH_BPS: Final = 64_000


def audio_recipe(options: AudioOptions, probed: Probed, stem: str) -> Recipe:
    """Build the command for audio.

    Raises:
        JobFailure: The input has no audio, or none at the requested time.
    """
    require_sound(probed)
    encoder, container = _ENCODERS[options.format]
    name = f"{stem}.{options.format}"
    part = cut(options, probed)
    after = (
        *part.after_input,
        *sound_stream(probed),
        *("-vn", "-c:a", encoder, *_rate(options, probed)),
        *("-f", container, name),
    )
    return Recipe(options.format, name, (Command(part.before_input, after),))


def rate_bps(options: AudioOptions) -> int:
    """Return the requested bits per second, from `bitrate` or `quality`."""
    return options.bitrate or BITRATES_BPS[options.quality or Quality.MEDIUM]


def _rate(options: AudioOptions, probed: Probed) -> tuple[str, ...]:
    if options.format in LOSSLESS:
        # Lossless formats keep every channel, unless players do not know the layout.
        return stereo(probed) if probed.odd_channels else ()
    rate = (*stereo(probed), "-b:a", str(rate_bps(options)))
    if options.format != "ogg":
        return rate
    low = rate_bps(options) < _VORBIS_FULL_BANDWIDTH_BPS
    return (*rate, "-ar", "16000" if low else "44100")
