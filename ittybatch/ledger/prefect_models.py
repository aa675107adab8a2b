"""Tables of what Prefect is to be told: events, and the ends that other flows wait for."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from ittybatch.ledger.columns import Base, Id


class Notice(Base):
    """An event for Prefect, committed with the change that it reports, and removed once sent.

    `batch_id` is no foreign key: checking it would lock the batch's row.
    """

    __tablename__ = "notices"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    event: Mapped[str] = mapped_column(String(50), comment="its name, without the prefix")
    batch_id: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    details: Mapped[dict[str, Any]] = mapped_column(comment="of its payload, by name")
    claimed_at: Mapped[datetime | None] = mapped_column(
        comment="when a waker took it to send it; another takes it a minute later"
    )


class Waiter(Base):
    """A user's own flow run that is suspended until a batch or a job has ended.

    It waits for `batch_id`, or for `job_id`, or for the batch that the flow run `batch_run` begins.
    """

    __tablename__ = "waiters"
    __table_args__ = (
        Index(
            "ix_waiters_waiting",
            "flow_run_id",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    flow_run_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    target: Mapped[str] = mapped_column(
        String(80), primary_key=True, comment="batch:<id>, job:<id> or run:<flow run's id>"
    )
    batch_id: Mapped[str | None] = mapped_column(String(64))
    job_id: Mapped[int | None] = mapped_column(Id)
    batch_run: Mapped[str | None] = mapped_column(String(36))
    since: Mapped[datetime]
    waits: Mapped[int] = mapped_column(comment="suspensions so far; each has a key of its own")
    called_at: Mapped[datetime | None] = mapped_column(comment="when it was last resumed")
    ended_at: Mapped[datetime | None] = mapped_column(comment="when it got its result")
