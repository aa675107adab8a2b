"""The library that a soak sends: a manifest of addresses, and a profile for them."""

import csv
from pathlib import Path

import yaml

# A film gives three jobs, a recording and a picture one each.
_ROUND = (
    ("s3://{of}/films/{n}.mp4", 3),
    ("s3://{of}/sound/{n}.wav", 1),
    ("https://media.example.com/{of}/{n}.png", 1),
)


def write_manifest(path: Path, jobs: int, of: str = "soak") -> int:
    """Write a manifest that gives this many jobs, or one or two more.

    Args:
        path: Where it is written.
        jobs: How many jobs.
        of: The library, as a bucket's name: none of its items is another's.

    Returns:
        How many jobs it gives with the profile of `write_profile`.
    """
    made = number = 0
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("input", "metadata.row"))
        while made < jobs:
            address, gives = _ROUND[number % len(_ROUND)]
            rows.writerow((address.format(n=f"{number:06}", of=of), number))
            made, number = made + gives, number + 1
    return made


def write_profile(path: Path, deadline_s: float) -> None:
    """Write a profile of three renditions whose patience is short."""
    patience = {"attempts": 4, "deadline": f"{deadline_s:g}s", "backoff": "1s"}
    renditions = [
        {"name": "small", "kind": "video", "options": {"format": "mp4", "height": 480}},
        {"name": "poster", "kind": "image", "options": {"format": "webp", "width": 640}},
        {"name": "sound", "kind": "audio", "options": {"format": "mp3"}},
    ]
    document = {
        "description": "Whatever a soak sends.",
        "renditions": [{**each, **patience} for each in renditions],
    }
    path.write_text(yaml.safe_dump(document))
