"""Computes the frame size of an output and its FFmpeg filters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ittybit_sandbox.options import MAX_EDGE_PX, Framed
from ittybit_sandbox.vocabulary import Fit

_SHORT_HEX_CHARS: Final = 4


@dataclass(frozen=True, slots=True)
class Size:
    """A frame size in pixels."""

    width: int
    height: int

    def rounded(self, step: int) -> "Size":
        """Round down to multiples of `step`, within the limits of the codecs."""
        return Size(_on_grid(self.width, step), _on_grid(self.height, step))


def target_size(options: Framed, source: Size, step: int = 1) -> Size:
    """Return the requested frame size; with one side given, keep the aspect ratio."""
    width = _pixels(options.width, source.width)
    height = _pixels(options.height, source.height)
    if width is None and height is None:
        size = source
    elif height is None and width is not None:
        size = Size(width, round(source.height * width / source.width))
    elif width is None and height is not None:
        size = Size(round(source.width * height / source.height), height)
    else:
        size = Size(width or source.width, height or source.height)
    return size.rounded(step)


def frame_filters(options: Framed, source: Size, step: int = 1) -> list[str]:
    """Return the filters that scale, pad or crop a picture to its target size."""
    size = target_size(options, source, step)
    both = options.width is not None and options.height is not None
    frame = f"{size.width}:{size.height}"
    if both and options.fit is Fit.CONTAIN:
        across, down = _placed(options.position, "ow-iw", "oh-ih")
        filters = [
            _scale(_resized(source, size, min)),
            f"pad={frame}:{across}:{down}:color={colour(options.background)}",
        ]
    elif both and options.fit is Fit.COVER:
        across, down = _placed(options.position, "iw-ow", "ih-oh")
        filters = [_scale(_resized(source, size, max)), f"crop={frame}:{across}:{down}"]
    else:
        filters = [_scale(size)]
    return [*filters, "setsar=1"]


def backdrop(options: Framed) -> str:
    """Return the colour behind a transparent picture if the output has no transparency."""
    requested = "background" in options.model_fields_set
    return colour(options.background) if requested else "white"


def _scale(size: Size) -> str:
    return f"scale={size.width}:{size.height}:flags=bicubic"


def _resized(source: Size, frame: Size, choose: Callable[[float, float], float]) -> Size:
    # The smaller factor leaves bars, the larger one overflows.
    factor = choose(frame.width / source.width, frame.height / source.height)
    return Size(max(round(source.width * factor), 1), max(round(source.height * factor), 1))


def _pixels(value: int | str | None, source: int) -> int | None:
    if isinstance(value, str):
        return round(source * float(value.removesuffix("%")) / 100)
    return value


def _on_grid(value: int, step: int) -> int:
    return min(max(value // step * step, step), MAX_EDGE_PX)


def _placed(position: str, free_width: str, free_height: str) -> tuple[str, str]:
    words = position.split("-")
    across = {"left": "0", "right": f"({free_width})"}
    down = {"top": "0", "bottom": f"({free_height})"}
    return (
        next((across[word] for word in words if word in across), f"({free_width})/2"),
        next((down[word] for word in words if word in down), f"({free_height})/2"),
    )


def colour(background: str) -> str:
    """Convert `#rgb` or `#rrggbb` to FFmpeg's notation."""
    if len(background) == _SHORT_HEX_CHARS:
        background = "#" + "".join(char * 2 for char in background[1:])
    return background.replace("#", "0x")
