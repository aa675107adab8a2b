"""Keeps outputs: on disk, to be served from here, or in the bucket that was asked for."""

import asyncio
import shutil
from pathlib import Path

from ittybit_sandbox.media.bucket import Bucket


class Storage:
    """Takes outputs in.

    Args:
        files_dir: Where outputs that nobody else takes are kept.
        base_url: Where those are offered.
        bucket: Writes to S3.
    """

    def __init__(self, files_dir: Path, base_url: str, bucket: Bucket) -> None:
        self._files_dir = files_dir
        self._base_url = base_url
        self._bucket = bucket

    async def store(self, job_id: str, made: Path, *, target: str | None) -> str:
        """Keep an output and the files beside it; return the output's URL.

        Args:
            job_id: Whose output it is.
            made: The output; what lies beside it, such as segments, goes where it goes.
            target: `s3://bucket/key`, or None to keep it here.

        Raises:
            JobFailure: The bucket does not take it.
        """
        if target is None:
            await asyncio.to_thread(self._keep, job_id, made)
            return f"{self._base_url}/files/{job_id}/{made.name}"
        if target.endswith("/"):
            target += made.name
        await asyncio.to_thread(self._upload, made, target)
        return target

    def _keep(self, job_id: str, made: Path) -> None:
        folder = self._files_dir / job_id
        folder.mkdir(parents=True, exist_ok=True)
        for file in _main_last(made):
            shutil.move(file, folder / file.name)

    def _upload(self, made: Path, target: str) -> None:
        folder = target.rpartition("/")[0]
        for file in _main_last(made):
            self._bucket.upload(file, target if file == made else f"{folder}/{file.name}")


def _main_last(made: Path) -> list[Path]:
    # A playlist is not to be found before its segments.
    beside = sorted(file for file in made.parent.iterdir() if file != made)
    return [*beside, made]
