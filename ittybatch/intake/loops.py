"""Refuses jobs whose outputs would cause events and be processed again, without end."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from ittybatch.intake.wanted import RequestRefused
from ittybatch.profiles import Item, JobSpec


def refuse_loops(item: Item, jobs: Iterable[JobSpec], watched: Sequence[str]) -> None:
    """Refuse outputs in a folder whose new objects are processed, if the input is in one, too.

    The profiles that `intake.yaml` names are checked at the start, but their files may change
    while the receiver runs.

    Args:
        item: The input.
        jobs: Its jobs.
        watched: Every `s3://bucket/prefix/` of `intake.yaml`.

    Raises:
        RequestRefused: Naming the rendition and the folder.
    """
    folders = tuple(watched)
    if not folders or not item.uri.startswith(folders):
        return
    for job in jobs:
        if job.destination is not None and job.destination.startswith(folders):
            raise RequestRefused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "profile",
                f"Rendition {job.rendition} would be written to {job.destination}, where "
                "intake.yaml declares that new objects are processed: its output would be "
                "processed again, and so on. Nothing was made.",
                "Give the rendition's destination another folder or bucket.",
            )
