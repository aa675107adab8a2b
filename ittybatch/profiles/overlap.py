"""Refuse profiles that write their outputs where the source is scanned."""

from collections.abc import Sequence

from ittybatch.profiles.destinations import Destination
from ittybatch.profiles.errors import ProfileError
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.profiles.profile import Profile
from ittybatch.profiles.template import render


class DestinationOverlap(ProfileError):
    """Outputs would land among the scanned objects, and the next scan would find them as items."""


def refuse_overlap(profile: Profile, scanned: Sequence[str]) -> None:
    """Refuse a profile whose outputs the next scan would find as new items.

    Args:
        profile: The profile.
        scanned: Every `s3://bucket/prefix/` that the batch lists.

    Raises:
        DestinationOverlap: Naming each rendition that overlaps.
    """
    overlaps = [
        f"\n  rendition {name}: {overlap}"
        for name, destination in profile.destinations().items()
        for prefix in scanned
        if (overlap := _overlap(destination, prefix))
    ]
    if overlaps:
        raise DestinationOverlap(
            f"Profile {profile.name} would write its outputs among the objects it reads, and "
            f"the next run would process them again:{''.join(overlaps)}",
            remedy="Begin the destination with another bucket, or with a fixed folder outside "
            "the scanned prefix, such as s3://bucket/renditions/{key}.",
        )


def _overlap(destination: Destination, scanned: str) -> str | None:
    """Describe how outputs could land inside a scanned prefix; None where they cannot."""
    bucket, _, prefix = scanned.removeprefix(S3_SCHEME).partition("/")
    folder = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    target = render(destination.bucket, {"bucket": bucket})
    first = destination.key[0]
    literal = first if isinstance(first, str) else ""
    if target != bucket:
        return None
    # A field right after a shorter text may spell out the rest of the scanned prefix.
    if not literal.startswith(folder) and not folder.startswith(literal):
        return None
    return f"{S3_SCHEME}{target}/{literal}... reaches into {scanned}"
