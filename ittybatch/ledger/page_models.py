"""Tables for people to look at. Nothing in the ledger is decided by them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ittybatch.ledger.columns import Base, Id


class Action(Base):
    """What somebody asked for through the page, the command line, the API or Prefect.

    `batch_id` is no foreign key: a refused action may name a batch that does not exist.
    """

    __tablename__ = "actions"
    __table_args__ = (Index("ix_actions_batch_id_id", "batch_id", "id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200), comment="who asked, as far as it is known")
    via: Mapped[str] = mapped_column(String(16), comment="page, cli, api or prefect")
    action: Mapped[str] = mapped_column(String(50))
    batch_id: Mapped[str | None] = mapped_column(String(64))
    details: Mapped[dict[str, Any]] = mapped_column(comment="what was asked for, by name")
    outcome: Mapped[str] = mapped_column(Text, comment="what was done, for people")
    refused: Mapped[bool] = mapped_column(default=False)


class LastRun(Base):
    """When a recurring piece of work last ran to its end, such as `reconcile`."""

    __tablename__ = "last_runs"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    at: Mapped[datetime]
    details: Mapped[dict[str, Any]] = mapped_column(comment="what it did, by name")


class ChunkTotals(Base):
    """The counters of a chunk as they were when its jobs were counted for `ChunkShare`.

    A chunk that is done hardly ever changes again, but it may: a job that was given up may succeed.
    Its shares hold as long as these counters equal those of the chunk. Otherwise its jobs are
    counted anew.
    """

    __tablename__ = "chunk_totals"

    chunk_id: Mapped[int] = mapped_column(Id, ForeignKey("chunks.id"), primary_key=True)
    sent: Mapped[int]
    succeeded: Mapped[int]
    failed: Mapped[int]
    cancelled: Mapped[int]
    expired: Mapped[int]


class ChunkShare(Base):
    """The jobs of one rendition in a chunk that is done, counted by state."""

    __tablename__ = "chunk_shares"

    chunk_id: Mapped[int] = mapped_column(Id, ForeignKey("chunks.id"), primary_key=True)
    rendition: Mapped[str] = mapped_column(String(100), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    sent: Mapped[int] = mapped_column(comment="submissions made, retries included")
    succeeded: Mapped[int]
    failed: Mapped[int]
    cancelled: Mapped[int]
    expired: Mapped[int]


class ChunkMinute(Base):
    """The jobs of a chunk that ended in one minute, counted when the chunk was done."""

    __tablename__ = "chunk_minutes"
    # SQLite reads a day of them in the order of the key, without looking up each row.
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012  SQLAlchemy reads it so

    minute: Mapped[datetime] = mapped_column(primary_key=True, comment="when it began")
    chunk_id: Mapped[int] = mapped_column(Id, ForeignKey("chunks.id"), primary_key=True)
    succeeded: Mapped[int]
    other: Mapped[int] = mapped_column(comment="failed, expired or cancelled")
