"""Updates that Postgres makes in place, indexes for what is under way, and retention."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Per cent of a page that inserts fill: the rest is for new versions of its rows. An update in
# the same page, of columns in no index, leaves every index alone.
_FILL = {"jobs": 50, "attempts": 90, "chunks": 50, "runs": 50}


def upgrade() -> None:
    """Apply this step."""
    op.drop_index("ix_jobs_chunk_id_state", "jobs")
    op.create_index(op.f("ix_jobs_chunk_id"), "jobs", ["chunk_id"], unique=False)
    op.drop_index(op.f("ix_attempts_completed_at"), "attempts")
    op.drop_index(op.f("ix_attempts_idempotency_key"), "attempts")
    # On Postgres a hash takes half the room of a tree, and is as fast for one id.
    op.drop_index(op.f("ix_attempts_task_id"), "attempts")
    op.create_index(
        op.f("ix_attempts_task_id"), "attempts", ["task_id"], unique=False, postgresql_using="hash"
    )
    op.create_index(op.f("ix_chunks_state"), "chunks", ["state"], unique=False)
    op.add_column(
        "batches",
        sa.Column(
            "tidied_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when its webhooks' bodies, polled answers and rejected rows were removed",
        ),
    )
    _set_fill(_FILL)


def downgrade() -> None:
    """Take this step back."""
    _set_fill(dict.fromkeys(_FILL, 100))
    op.drop_column("batches", "tidied_at")
    op.drop_index(op.f("ix_chunks_state"), "chunks")
    op.drop_index(op.f("ix_attempts_task_id"), "attempts")
    op.create_index(op.f("ix_attempts_task_id"), "attempts", ["task_id"], unique=False)
    op.create_index(
        op.f("ix_attempts_idempotency_key"), "attempts", ["idempotency_key"], unique=False
    )
    op.create_index(op.f("ix_attempts_completed_at"), "attempts", ["completed_at"], unique=False)
    op.drop_index(op.f("ix_jobs_chunk_id"), "jobs")
    op.create_index("ix_jobs_chunk_id_state", "jobs", ["chunk_id", "state"], unique=False)


def _set_fill(percent: dict[str, int]) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, fill in percent.items():
            op.execute(f"ALTER TABLE {table} SET (fillfactor = {fill})")
