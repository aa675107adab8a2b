"""What people did, when recurring work last ran, and counts and indexes for the page."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_FAILED = sa.text("error_message IS NOT NULL")
# SQLite generates values only for an INTEGER primary key.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_COUNTS = ("sent", "succeeded", "failed", "cancelled", "expired")


def upgrade() -> None:
    """Apply this step."""
    if op.get_bind().dialect.name == "postgresql":
        # All locks first, in the order in which settlements take them. Taken one by one between
        # the counts, they would meet webhooks in the other order: a deadlock each time.
        op.execute("LOCK TABLE jobs, chunks, outbox, deliveries IN SHARE ROW EXCLUSIVE MODE")
    op.create_table(
        "actions",
        sa.Column("id", _ID, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column(
            "actor", sa.String(200), nullable=False, comment="who asked, as far as it is known"
        ),
        sa.Column("via", sa.String(16), nullable=False, comment="page, cli, api or prefect"),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("batch_id", sa.String(64), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False, comment="what was asked for, by name"),
        sa.Column("outcome", sa.Text(), nullable=False, comment="what was done, for people"),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_actions")),
    )
    op.create_index("ix_actions_batch_id_id", "actions", ["batch_id", "id"])
    op.create_table(
        "last_runs",
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("details", sa.JSON(), nullable=False, comment="what it did, by name"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_last_runs")),
    )
    _create_counts()
    _count_done_chunks()
    op.create_index(
        "ix_jobs_failed",
        "jobs",
        ["chunk_id"],
        sqlite_where=_FAILED,
        postgresql_where=_FAILED,
    )
    op.create_index(op.f("ix_outbox_job_id"), "outbox", ["job_id"])
    op.create_index(op.f("ix_deliveries_received_at"), "deliveries", ["received_at"])


def downgrade() -> None:
    """Take this step back."""
    op.drop_index(op.f("ix_deliveries_received_at"), "deliveries")
    op.drop_index(op.f("ix_outbox_job_id"), "outbox")
    op.drop_index("ix_jobs_failed", "jobs")
    for table in ("chunk_minutes", "chunk_shares", "chunk_totals"):
        op.drop_table(table)
    op.drop_table("last_runs")
    op.drop_table("actions")


def _create_counts() -> None:
    counts = [sa.Column(name, sa.Integer(), nullable=False) for name in _COUNTS]
    counts[0].comment = "submissions made, retries included"
    op.create_table(
        "chunk_totals",
        sa.Column("chunk_id", _ID, nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in _COUNTS),
        sa.ForeignKeyConstraint(
            ["chunk_id"], ["chunks.id"], name=op.f("fk_chunk_totals_chunk_id_chunks")
        ),
        sa.PrimaryKeyConstraint("chunk_id", name=op.f("pk_chunk_totals")),
    )
    op.create_table(
        "chunk_shares",
        sa.Column("chunk_id", _ID, nullable=False),
        sa.Column("rendition", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        *counts,
        sa.ForeignKeyConstraint(
            ["chunk_id"], ["chunks.id"], name=op.f("fk_chunk_shares_chunk_id_chunks")
        ),
        sa.PrimaryKeyConstraint("chunk_id", "rendition", "kind", name=op.f("pk_chunk_shares")),
    )
    op.create_table(
        "chunk_minutes",
        sa.Column("minute", _TIME, nullable=False, comment="when it began"),
        sa.Column("chunk_id", _ID, nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("other", sa.Integer(), nullable=False, comment="failed, expired or cancelled"),
        sa.ForeignKeyConstraint(
            ["chunk_id"], ["chunks.id"], name=op.f("fk_chunk_minutes_chunk_id_chunks")
        ),
        sa.PrimaryKeyConstraint("minute", "chunk_id", name=op.f("pk_chunk_minutes")),
        sqlite_with_rowid=False,
    )


def _count_done_chunks() -> None:
    """Count what has ended already. The minutes of the past are not drawn any more."""
    names = ", ".join(_COUNTS)
    op.execute(
        f"INSERT INTO chunk_totals (chunk_id, {names}) "  # noqa: S608  names of columns
        f"SELECT id, {names} FROM chunks WHERE state = 'done'"
    )
    states = ", ".join(
        f"SUM(CASE WHEN jobs.state = '{name}' THEN 1 ELSE 0 END)" for name in _COUNTS[1:]
    )
    op.execute(
        f"INSERT INTO chunk_shares (chunk_id, rendition, kind, {names}) "  # noqa: S608  likewise
        f"SELECT chunk_id, rendition, kind, SUM(attempt - (last_attempt - attempts)), {states} "
        "FROM jobs JOIN chunks ON chunks.id = jobs.chunk_id WHERE chunks.state = 'done' "
        "GROUP BY chunk_id, rendition, kind"
    )
