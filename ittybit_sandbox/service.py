"""One sandbox: builds its parts, starts, resets and stops them."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from ittybit_sandbox.config import SandboxConfig
from ittybit_sandbox.encoder import Encoder
from ittybit_sandbox.faults import FaultPlan
from ittybit_sandbox.journal import Journal
from ittybit_sandbox.media.bucket import Bucket
from ittybit_sandbox.media.ffmpeg import ffmpeg_path
from ittybit_sandbox.media.source import Fetcher
from ittybit_sandbox.media.storage import Storage
from ittybit_sandbox.memory import Memory
from ittybit_sandbox.pipeline import Pipeline
from ittybit_sandbox.tally import Tally
from ittybit_sandbox.webhooks import Deliveries


class Sandbox:
    """The state behind the routes.

    Args:
        config: Its settings.

    Raises:
        ConfigurationError: ffmpeg is missing, or `state_dir` cannot be used.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        if not config.instant:
            ffmpeg_path()
        self._journal = Journal(config.state_dir) if config.state_dir else None
        self._temporary = None if config.state_dir else tempfile.TemporaryDirectory()
        root = config.state_dir or Path(self._temporary.name if self._temporary else ".")
        self.files_dir = root / "files"
        self._work_dir = root / "work"
        self._assemble()

    def _assemble(self) -> None:
        config = self.config
        self.tally = Tally()
        self.plan = FaultPlan(config.faults, config.seed)
        self.memory = Memory(self._journal)
        self.deliveries = Deliveries(config, self.memory, self.plan, self.tally)
        bucket = Bucket()
        self._fetcher = Fetcher(config, bucket)
        storage = Storage(self.files_dir, config.base_url, bucket)
        pipeline = Pipeline(config, self.memory, self._fetcher, storage, self._work_dir)
        self.encoder = Encoder(config, self.memory, self.plan, self.deliveries, pipeline)

    async def start(self) -> None:
        """Read the journal back and continue the jobs in it."""
        for folder in (self.files_dir, self._work_dir):
            folder.mkdir(parents=True, exist_ok=True)
        self.memory.load()
        self.tally.jobs_resumed = sum(1 for job in self.memory.jobs if not job.status.ended)
        await self.deliveries.start()
        await self._fetcher.start()
        self.encoder.start()

    async def reset(self) -> None:
        """Forget everything, as if the sandbox had just started in an empty folder."""
        await self._halt()
        if self._journal is not None:
            self._journal.clear()
        await asyncio.to_thread(shutil.rmtree, self.files_dir, ignore_errors=True)
        self._assemble()
        await self.start()

    async def stop(self) -> None:
        """Stop everything, running encodes included."""
        await self._halt()
        if self._journal is not None:
            self._journal.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    async def _halt(self) -> None:
        await self.encoder.stop()
        await self.deliveries.stop()
        await self._fetcher.stop()
