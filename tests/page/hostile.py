"""A ledger in which every text that comes from outside is hostile."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import select, update

from ittybatch.ittybit.options import Kind
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import Via, record_action
from ittybatch.ledger.batches import finish_planning
from ittybatch.ledger.models import Batch, Job
from ittybatch.ledger.pending import mark, pending_page
from ittybatch.ledger.plan import PlannedItem, PlannedPage, PlannedReject
from ittybatch.ledger.planning import plan_page
from ittybatch.ledger.sinks import DeclaredSink, back_off, sync_sinks
from ittybatch.ledger.submission import Accepted, claim_due, record_accepted
from ittybatch.profiles import Item
from tests.ledger import library
from tests.receiver.harness import Running

# Each tries to run in another place: as an element, in an attribute, in a template of the browser
# or the server, or by deceiving the eye.
SCRIPT = "<script>alert('text')</script>"
ATTRIBUTE = "\"'><img src=x onerror=alert('attribute')>"
TEMPLATE = "{{ 7*7 }}${alert('template')}</title></textarea><svg/onload=alert('svg')>"
BACKWARDS = "\u202egpj.exe\u2066\u200b\x1b[31m\u0085\u2028"
HTMX = '<b hx-get="/page/actions" hx-trigger="load" hx-on:load="alert(1)">b</b>'
EVERYTHING = f"{SCRIPT}{ATTRIBUTE}{TEMPLATE}{HTMX}{BACKWARDS}"
SECRETS = ("s1gnature-of-aws", "p4ssw0rd", "t0ken-of-somebody")
SIGNED = f"https://cdn.test/a.mp4?X-Amz-Signature={SECRETS[0]}"
WITH_USER = f"https://me:{SECRETS[1]}@cdn.test/a.mp4"
ADDRESSES = (
    "javascript:alert('address')",
    "data:text/html,<script>alert('data')</script>",
    "https://cdn.test/\"onerror=\"alert('quote').mp4",
    "vbscript:msgbox",
    SIGNED,
    WITH_USER,
    f"s3://films/{EVERYTHING}.mp4",
)


@dataclass(frozen=True, slots=True)
class Hostile:
    """What the addresses of pages need."""

    batch: str
    chunk: int
    number: int
    job: int
    task: str
    digest: str


def fill(ledger: Ledger, receiver: Running) -> Hostile:
    """Fill the ledger: jobs that succeed, fail, wait and are held back, and all about them.

    Args:
        ledger: An empty ledger.
        receiver: A receiver on it, which takes the webhooks.
    """
    ledger.write(sync_sinks, [DeclaredSink(f"sink {SCRIPT}", "sql", on_accepted=True)])
    batch = library.new_batch(
        ledger,
        name=EVERYTHING[:200],
        source={"type": "bucket", "uri": f"s3://films/{EVERYTHING}", "note": SIGNED},
        profile={"name": EVERYTHING, "renditions": []},
    ).id
    specs = [
        library.job(
            f"in/{EVERYTHING}.mp4",
            rendition=f"{number}{ATTRIBUTE}{BACKWARDS}"[:100],
            kind=kind,
            attempts=1,
            options={"format": EVERYTHING, "webhook_url": SIGNED},
            destination=f"s3://films/out/{number}{EVERYTHING}",
            metadata={f"{EVERYTHING}": EVERYTHING, "token": SECRETS[2], "source": WITH_USER},
        )
        for number, kind in enumerate([*([Kind.VIDEO] * len(ADDRESSES)), Kind.IMAGE, Kind.AUDIO])
    ]
    items = [PlannedItem(Item(specs[0].input, fingerprint=EVERYTHING, size_bytes=7, line=3), specs)]
    rejects = [PlannedReject(1, EVERYTHING[:200], EVERYTHING, EVERYTHING)]
    page = PlannedPage(items, rejects, {"found": 1}, "end")
    ledger.write(plan_page, batch, page, after=None, chunk_size=100)
    ledger.write(finish_planning, batch)
    chunk = library.released_chunk(ledger, batch)
    sent = ledger.write(claim_due, chunk, len(specs) - 1)
    tasks = [f"task-{number}{ATTRIBUTE}"[:200] for number, _ in enumerate(sent)]
    ledger.write(
        record_accepted,
        [Accepted(s.job_id, s.attempt, task) for s, task in zip(sent, tasks, strict=True)],
    )
    for number, address in enumerate(ADDRESSES):
        receiver.post(_webhook(tasks[number], "succeeded", output={"url": address}))
    error = {"kind": EVERYTHING[:90], "message": f"invalid input {EVERYTHING} at {SIGNED}"}
    receiver.post(_webhook(tasks[len(ADDRESSES)], "failed", error=error))
    receiver.post(f'{{"id": "{tasks[0]}"'.encode() + EVERYTHING.encode() + b"\xff")
    _of_sinks(ledger)
    ledger.write(
        record_action,
        actor=EVERYTHING,
        via=Via.PAGE,
        action=f"pause {SCRIPT}"[:50],
        outcome=EVERYTHING,
        batch=batch,
        details={EVERYTHING: EVERYTHING},
    )
    ledger.write(_note, batch)
    return _found(ledger, batch, chunk)


def _webhook(task: str, status: str, **more: Any) -> bytes:  # noqa: ANN401
    body = {
        "id": task,
        "status": status,
        "kind": EVERYTHING,
        "metadata": {EVERYTHING: EVERYTHING, "secret": SECRETS[2]},
        **more,
    }
    return orjson.dumps(body)


def _of_sinks(ledger: Ledger) -> None:
    """One result is delivered, one refused, and the sink is unavailable for the others."""
    name = f"sink {SCRIPT}"
    rows = ledger.read(pending_page, name, 2).rows
    ledger.write(mark, name, [rows[0].id], [(rows[1].id, f"{EVERYTHING} {SIGNED}")])
    ledger.write(back_off, name, f"{EVERYTHING} password={SECRETS[1]}", 3600)


def _note(transaction: Any, batch: str) -> None:  # noqa: ANN401
    transaction.execute(update(Batch).where(Batch.id == batch).values(reason=EVERYTHING))
    transaction.execute(update(Job).where(Job.state == "planned").values(last_problem=EVERYTHING))


def _found(ledger: Ledger, batch: str, chunk: int) -> Hostile:
    from ittybatch.ledger.timeline import item_history  # noqa: PLC0415

    item = ledger.read(item_history, chunk, 0)
    assert item is not None
    delivery = next(each for job in item.jobs for each in job.deliveries)
    failed = next(job for job in item.jobs if job.held_back)
    return Hostile(batch, chunk, 0, failed.id, delivery.task_id, delivery.digest)


def all_jobs(ledger: Ledger) -> list[int]:
    """The ids of all jobs."""
    return ledger.read(lambda transaction: [row.id for row in transaction.rows(select(Job.id))])
