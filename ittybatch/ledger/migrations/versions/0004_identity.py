"""One form of an ETag: items that an earlier listing took in another form keep their claims.

What an ETag and a key came to at the time of this step is repeated here, so that later versions
of the library change nothing about it.
"""

import hashlib
import html
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import unquote

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ITEM_KEY_LENGTH = 21
_SHARED_LENGTH = 5
_OWN_CHARACTERS = 7
_HASH = re.compile(r"[0-9a-f]{32}(?:-[0-9]+)?", re.IGNORECASE)
_AT_ONCE = 500
_REASON = "Not sent: another batch has the same job; its object's ETag was written in another way."

_items = sa.table(
    "items",
    sa.column("chunk_id", sa.BigInteger),
    sa.column("number", sa.Integer),
    sa.column("uri", sa.Text),
    sa.column("fingerprint", sa.Text),
)
_jobs = sa.table(
    "jobs",
    sa.column("id", sa.BigInteger),
    sa.column("chunk_id", sa.BigInteger),
    sa.column("item_number", sa.Integer),
    sa.column("job_key", sa.String),
    sa.column("claim", sa.Boolean),
    sa.column("state", sa.String),
    sa.column("attempt", sa.Integer),
    sa.column("attempts", sa.Integer),
    sa.column("last_attempt", sa.Integer),
    sa.column("completed_at", sa.DateTime(timezone=True)),
    sa.column("error_kind", sa.String),
    sa.column("error_message", sa.Text),
)
_chunks = sa.table(
    "chunks",
    sa.column("id", sa.BigInteger),
    sa.column("planned", sa.Integer),
    sa.column("cancelled", sa.Integer),
)
_attempts = sa.table(
    "attempts", sa.column("job_id", sa.BigInteger), sa.column("number", sa.Integer)
)

# Whose claim stays where two jobs turn out to be one: what is paid for, then what may be, then
# what holds back every later batch.
_RANK = {
    "succeeded": 6,
    "submitted": 5,
    "submitting": 4,
    "expired": 3,
    "failed": 2,
    "cancelled": 1,
    "planned": 0,
}


class _Job(NamedTuple):
    id: int
    chunk_id: int
    job_key: str
    claim: bool | None
    state: str
    attempt: int
    attempts: int
    last_attempt: int


def upgrade() -> None:
    """Apply this step."""
    connection = op.get_bind()
    for chunk, renamed in _renamed_items(connection):
        _rename(connection, chunk, renamed)


def downgrade() -> None:
    """Leave everything as it is: an earlier version reads both forms."""


def _renamed_items(connection: sa.Connection) -> Iterator[tuple[int, dict[int, tuple[str, str]]]]:
    """Give each chunk's items whose ETag is in another form: their URI and its right form."""
    fingerprint = _items.c.fingerprint
    suspects = sa.or_(
        fingerprint.like("%&%"),
        fingerprint.like('%"%'),
        fingerprint.like("%\\%22%", escape="\\"),
        fingerprint.like("W/%"),
        fingerprint.like("w/%"),
        fingerprint.like(" %"),
        fingerprint.like("% "),
        fingerprint != sa.func.lower(fingerprint),
    )
    chunks = connection.execute(
        sa.select(_items.c.chunk_id).where(suspects).distinct().order_by(_items.c.chunk_id)
    ).scalars()
    for chunk in chunks.all():
        rows = connection.execute(
            sa.select(_items.c.number, _items.c.uri, fingerprint).where(
                _items.c.chunk_id == chunk, suspects
            )
        )
        renamed = {
            row.number: (row.uri, bare)
            for row in rows
            if (bare := _bare_etag(row.fingerprint)) is not None and bare != row.fingerprint
        }
        if renamed:
            yield chunk, renamed


def _rename(connection: sa.Connection, chunk: int, renamed: dict[int, tuple[str, str]]) -> None:
    connection.execute(
        sa.update(_items)
        .where(_items.c.chunk_id == sa.bindparam("in_chunk"), _items.c.number == sa.bindparam("of"))
        .values(fingerprint=sa.bindparam("bare")),
        [{"in_chunk": chunk, "of": number, "bare": bare} for number, (_, bare) in renamed.items()],
    )
    columns = [_jobs.c[name] for name in _Job._fields]
    rows = connection.execute(
        sa.select(_jobs.c.item_number, *columns)
        .where(_jobs.c.chunk_id == chunk)
        .order_by(_jobs.c.id)
    )
    moved: dict[str, list[_Job]] = {}
    for number, *values in rows:
        if number in renamed:
            job = _Job(*values)
            key = _item_key(*renamed[number]) + job.job_key[_ITEM_KEY_LENGTH:]
            moved.setdefault(key, []).append(job)
    keys = list(moved)
    for start in range(0, len(keys), _AT_ONCE):
        _move(connection, {key: moved[key] for key in keys[start : start + _AT_ONCE]}, columns)


def _move(connection: sa.Connection, moved: dict[str, list[_Job]], columns: Sequence[Any]) -> None:
    """Give jobs their new keys, and decide whose claim stays where a key has one already."""
    known: dict[str, list[_Job]] = {}
    for row in connection.execute(sa.select(*columns).where(_jobs.c.job_key.in_(list(moved)))):
        known.setdefault(row.job_key, []).append(_Job(*row))
    for key, jobs in moved.items():
        alike = [*known.get(key, []), *jobs]
        claiming = sorted(
            (job for job in alike if job.claim), key=lambda job: (_RANK[job.state], job.id)
        )
        for loser in claiming[:-1]:
            _let_go(connection, loser)
        for job in jobs:
            # A number whose sending was called off is used again, with the key that it gets then.
            connection.execute(
                sa.delete(_attempts).where(
                    _attempts.c.job_id == job.id, _attempts.c.number > job.attempt
                )
            )
            connection.execute(sa.update(_jobs).where(_jobs.c.id == job.id).values(job_key=key))
        if claiming and claiming[-1].state == "planned":
            _count_on(connection, claiming[-1], max(job.attempt for job in alike))


def _let_go(connection: sa.Connection, job: _Job) -> None:
    """Take a job's claim. It is not sent, or not again: the other one's output is the same."""
    values: dict[str, Any] = {"claim": None}
    if job.state == "planned":
        values |= {
            "state": "cancelled",
            "completed_at": datetime.now(UTC),
            "error_kind": "cancelled",
            "error_message": _REASON,
        }
        connection.execute(
            sa.update(_chunks)
            .where(_chunks.c.id == job.chunk_id)
            .values(planned=_chunks.c.planned - 1, cancelled=_chunks.c.cancelled + 1)
        )
    elif job.state in {"submitted", "submitting"}:
        left = job.last_attempt - job.attempt
        values |= {"attempts": job.attempts - left, "last_attempt": job.attempt}
    connection.execute(sa.update(_jobs).where(_jobs.c.id == job.id).values(values))


def _count_on(connection: sa.Connection, job: _Job, attempt: int) -> None:
    """Count a job's attempts on from all that were made under its key.

    Ittybit would answer a number that was used before with that attempt's job.
    """
    if attempt > job.attempt:
        connection.execute(
            sa.update(_jobs)
            .where(_jobs.c.id == job.id)
            .values(attempt=attempt, last_attempt=job.last_attempt + attempt - job.attempt)
        )


def _bare_etag(text: str) -> str | None:
    bare = html.unescape(text)
    if "%22" in bare:
        bare = unquote(bare)
    bare = bare.strip().removeprefix("W/").removeprefix("w/").strip().strip('"')
    return (bare.lower() if _HASH.fullmatch(bare) else bare) or None


def _item_key(uri: str, fingerprint: str) -> str:
    name = uri if uri.startswith("s3://") else uri.partition("?")[0]
    # As orjson writes it, which made the keys.
    text = json.dumps([name, fingerprint], ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    shared = hashlib.sha256(name[:-_OWN_CHARACTERS].encode()).hexdigest()[:_SHARED_LENGTH]
    return shared + digest[: _ITEM_KEY_LENGTH - _SHARED_LENGTH]
