"""Stores outputs: on disk, served by the sandbox, or in the requested bucket."""

import asyncio
import shutil
from pathlib import Path

from ittybit_sandbox.media.bucket import Bucket


class Storage:
    """Stores outputs.

    Args:
        files_dir: Folder of the outputs that the sandbox serves.
        base_url: Base of their URLs.
        bucket: Writes to S3.
    """

    def __init__(self, files_dir: Path, base_url: str, bucket: Bucket) -> None:
        self._files_dir = files_dir
        self._base_url = base_url
        self._bucket = bucket

    async def store(self, job_id: str, output: Path, *, target: str | None) -> str:
        """Store an output and the files beside it; return the output's URL.

        Args:
            job_id: The job that produced it.
            output: The output; files beside it, such as segments, go to the same place.
            target: `s3://bucket/key`, or None for the sandbox's own disk.

        Raises:
            JobFailure: The upload failed.
        """
        if target is None:
            await asyncio.to_thread(self._keep, job_id, output)
            return f"{self._base_url}/files/{job_id}/{output.name}"
        if target.endswith("/"):
            target += output.name
        await asyncio.to_thread(self._upload, output, target)
        return target

    def _keep(self, job_id: str, output: Path) -> None:
        folder = self._files_dir / job_id
        folder.mkdir(parents=True, exist_ok=True)
        for file in _main_last(output):
            shutil.move(file, folder / file.name)

    def _upload(self, output: Path, target: str) -> None:
        folder = target.rpartition("/")[0]
        for file in _main_last(output):
            self._bucket.upload(file, target if file == output else f"{folder}/{file.name}")


def _main_last(output: Path) -> list[Path]:
    # A playlist must not appear before its segments.
    beside = sorted(file for file in output.parent.iterdir() if file != output)
    return [*beside, output]
