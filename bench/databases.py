"""Empty ledgers to measure on, and jobs to fill them with."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger
from ittybatch.ledger.batches import finish_planning, open_batch
from ittybatch.ledger.chunks import release_chunks
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.identity import owned_chunk
from ittybatch.ledger.migrate import upgrade
from ittybatch.ledger.plan import PlannedItem, PlannedPage
from ittybatch.ledger.planning import plan_page
from ittybatch.profiles import Item, JobSpec
from ittybatch.profiles.job import identifying_json, item_key, job_key
from ittybatch_local.ports import choose_ports
from ittybatch_local.postgres import PostgresCluster, is_installed
from ittybatch_local.supervisor import Supervisor

DATABASES = ("sqlite", "postgres")
NewLedger = Callable[[], str]

_RENDITIONS = (
    ("1080p", Kind.VIDEO, {"format": "mp4", "height": 1080, "quality": "high"}),
    ("480p", Kind.VIDEO, {"format": "mp4", "height": 480, "quality": "medium"}),
    ("poster", Kind.IMAGE, {"format": "webp", "start": 2, "width": 640}),
    ("sound", Kind.AUDIO, {"format": "mp3", "quality": "medium"}),
)
_PAGE_ITEMS = 500


@contextmanager
def ledgers(database: str) -> Iterator[NewLedger]:
    """A maker of URLs of empty ledgers on `sqlite` or `postgres`; all are gone afterwards."""
    # Not a private folder: PostgreSQL does not run as root, and must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="ittybatch-bench-"))
    folder.chmod(0o755)
    try:
        if database == "sqlite":
            yield lambda: _migrated(f"sqlite:///{folder / uuid.uuid4().hex}.db")
        else:
            with _postgres(folder) as cluster:
                yield lambda: _on_postgres(cluster)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_available(database: str) -> bool:
    """Whether this machine can measure on it."""
    return database == "sqlite" or is_installed()


@contextmanager
def _postgres(folder: Path) -> Iterator[PostgresCluster]:
    port = choose_ports(["postgres"], folder / "ports.json")["postgres"]
    cluster = PostgresCluster(folder / "postgres", port, uuid.uuid4().hex)
    cluster.prepare()
    with Supervisor(lambda _: None) as supervisor:
        supervisor.launch(cluster.spec(folder / "postgres.log", dict(os.environ)))
        supervisor.await_ready("postgres")
        yield cluster


def _on_postgres(cluster: PostgresCluster) -> str:
    name = f"ledger_{uuid.uuid4().hex}"
    cluster.create_databases([name])
    return _migrated(cluster.url(name, scheme="postgresql+psycopg"))


def _migrated(url: str) -> str:
    ledger = open_at(url)
    upgrade(ledger)
    ledger.close()
    return url


def open_at(url: str) -> Ledger:
    """Open the ledger of a URL as the product does."""
    return Ledger(create_ledger_engine(url))


def released_chunks(
    ledger: Ledger, jobs: int, *, chunk_items: int, first_item: int = 0
) -> list[int]:
    """Plan a batch of at least so many jobs, four an item, and release all of its chunks."""
    batch = ledger.write(
        open_batch,
        flow_run_id=None,
        deployment_id=None,
        name="bench",
        source={"type": "bucket", "uri": "s3://library/"},
        profile={"name": "bench"},
        options={},
    ).id
    items = -(-jobs // len(_RENDITIONS))
    after = None
    for first in range(0, items, _PAGE_ITEMS):
        last = min(first + _PAGE_ITEMS, items)
        page = _page(range(first_item + first, first_item + last))
        ledger.write(plan_page, batch, page, after=after, chunk_size=chunk_items)
        after = page.cursor
    ledger.write(finish_planning, batch)
    owned = (owned_chunk(owner) for owner in ledger.write(release_chunks, batch, items))
    return [chunk for chunk in owned if chunk is not None]


def _page(numbers: range) -> PlannedPage:
    items = [Item(f"s3://library/uploads/{number:07}.mov", fingerprint="1") for number in numbers]
    planned = [PlannedItem(item, [_job(item, *each) for each in _RENDITIONS]) for item in items]
    return PlannedPage(planned, [], {"found": len(planned)}, items[-1].uri)


def _job(item: Item, rendition: str, kind: Kind, options: dict[str, object]) -> JobSpec:
    return JobSpec(
        rendition=rendition,
        kind=kind,
        input=item.uri,
        options=options,
        destination=None,
        metadata={"show": "pilot", "season": "1"},
        attempts=3,
        deadline_s=3600,
        backoff_s=30,
        job_key=job_key(item_key(item), kind, identifying_json(options), None),
    )
