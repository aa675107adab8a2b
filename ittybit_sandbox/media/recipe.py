"""Chooses the recipe of an output."""

from ittybit_sandbox.media.adaptive import adaptive_recipe
from ittybit_sandbox.media.animation import animation_recipe
from ittybit_sandbox.media.audio import audio_recipe
from ittybit_sandbox.media.image import image_recipe
from ittybit_sandbox.media.plan import Recipe
from ittybit_sandbox.media.probe import Probed
from ittybit_sandbox.media.video import video_recipe
from ittybit_sandbox.options import (
    AdaptiveOptions,
    AnimationOptions,
    AudioOptions,
    MediaOptions,
    VideoOptions,
)

__all__ = ["Recipe", "recipe_for"]


def recipe_for(options: MediaOptions, probed: Probed, stem: str) -> Recipe:
    """Build the recipe of an output.

    Args:
        options: The requested options.
        probed: Facts about the input.
        stem: The output's file name without extension; safe characters only.

    Raises:
        JobFailure: The input has nothing of the requested kind, or nothing at the requested time.
    """
    if isinstance(options, VideoOptions):
        return video_recipe(options, probed, stem)
    if isinstance(options, AudioOptions):
        return audio_recipe(options, probed, stem)
    if isinstance(options, AnimationOptions):
        return animation_recipe(options, probed, stem)
    if isinstance(options, AdaptiveOptions):
        return adaptive_recipe(options, probed, stem)
    return image_recipe(options, probed, stem)
