"""What people did, when recurring work last ran, and indexes for the page."""

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


def upgrade() -> None:
    """Apply this step."""
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
    op.drop_table("last_runs")
    op.drop_table("actions")
