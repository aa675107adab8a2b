"""The ledger: batches, chunks, items, jobs, attempts, deliveries, runs and rejects."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("profile", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("scan_cursor", sa.Text(), nullable=True),
        sa.Column("scan_done", sa.Boolean(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("canary_passed", sa.Boolean(), nullable=False),
        sa.Column(
            "trips",
            sa.Integer(),
            nullable=False,
            comment="times in a row that the service was found to be down",
        ),
        sa.Column("closed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "why_ask",
            sa.Text(),
            nullable=True,
            comment="why somebody has to approve of it before it begins; none once they have",
        ),
        sa.Column(
            "asked_leg",
            sa.Integer(),
            nullable=True,
            comment="the leg that asked in the Prefect UI whether the batch may begin",
        ),
        sa.Column(
            "asked_run",
            sa.String(length=64),
            nullable=True,
            comment="the flow run that this was a leg of",
        ),
        sa.Column(
            "wants_room",
            sa.Boolean(),
            nullable=False,
            comment="chunks wait for others to leave room for them",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index(op.f("ix_batches_state"), "batches", ["state"], unique=False)

    op.create_table(
        "deliveries",
        sa.Column("task_id", sa.Text(), nullable=False, comment="empty where none could be read"),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=50), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "digest", name=op.f("pk_deliveries")),
    )

    op.create_table(
        "chunks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column(
            "sent",
            sa.Integer(),
            nullable=False,
            comment="submissions made, retries included",
        ),
        sa.Column(
            "retried",
            sa.Integer(),
            nullable=False,
            comment="jobs that took more than one",
        ),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("expired", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_chunks_batch_id_batches")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
        sa.UniqueConstraint("batch_id", "number", name=op.f("uq_chunks_batch_id_number")),
    )
    op.create_table(
        "rejects",
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("field", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("row", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_rejects_batch_id_batches")
        ),
        sa.PrimaryKeyConstraint("batch_id", "number", name=op.f("pk_rejects")),
    )
    op.create_table(
        "runs",
        sa.Column("owner", sa.String(length=80), nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("flow_run_id", sa.String(length=36), nullable=True),
        sa.Column("deployment_id", sa.String(length=36), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("leg", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wake_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column(
            "stumbles",
            sa.Integer(),
            nullable=False,
            comment="times in a row that the run ended before it had got on",
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_runs_batch_id_batches")
        ),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_batch_id"), "runs", ["batch_id"], unique=False)
    op.create_index(op.f("ix_runs_flow_run_id"), "runs", ["flow_run_id"], unique=False)
    op.create_index("ix_runs_state_wake_at", "runs", ["state", "wake_at"], unique=False)

    op.create_table(
        "items",
        sa.Column("chunk_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunks.id"], name=op.f("fk_items_chunk_id_chunks")),
        sa.PrimaryKeyConstraint("chunk_id", "number", name=op.f("pk_items")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chunk_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("item_number", sa.Integer(), nullable=False),
        sa.Column("rendition", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=True),
        sa.Column("user_metadata", sa.Text(), nullable=False),
        sa.Column("job_key", sa.String(length=32), nullable=False),
        sa.Column(
            "recipe",
            sa.String(length=16),
            nullable=True,
            comment="digest of what its rendition asks of every item",
        ),
        sa.Column("claim", sa.Boolean(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="allowed in this batch"),
        sa.Column("last_attempt", sa.Integer(), nullable=False),
        sa.Column("backoff_s", sa.Double(), nullable=False),
        sa.Column("deadline_s", sa.Double(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_kind", sa.String(length=100), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("output_url", sa.Text(), nullable=True),
        sa.Column("output_format", sa.String(length=50), nullable=True),
        sa.Column("output_width", sa.Integer(), nullable=True),
        sa.Column("output_height", sa.Integer(), nullable=True),
        sa.Column("output_duration_s", sa.Double(), nullable=True),
        sa.Column("output_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=True,
            comment="what a poll told of its end; what webhooks told is in deliveries",
        ),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunks.id"], name=op.f("fk_jobs_chunk_id_chunks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("job_key", "claim", name=op.f("uq_jobs_job_key_claim")),
    )
    op.create_index("ix_jobs_chunk_id_state", "jobs", ["chunk_id", "state"], unique=False)

    op.create_table(
        "attempts",
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_kind", sa.String(length=100), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_completed_at"), "attempts", ["completed_at"], unique=False)
    op.create_index(
        op.f("ix_attempts_idempotency_key"), "attempts", ["idempotency_key"], unique=False
    )
    op.create_index(op.f("ix_attempts_task_id"), "attempts", ["task_id"], unique=False)


def downgrade() -> None:
    """Take this step back."""
    op.drop_index(op.f("ix_attempts_task_id"), "attempts")
    op.drop_index(op.f("ix_attempts_completed_at"), "attempts")
    op.drop_index(op.f("ix_attempts_idempotency_key"), "attempts")

    op.drop_table("attempts")
    op.drop_index("ix_jobs_chunk_id_state", "jobs")

    op.drop_table("jobs")
    op.drop_table("items")
    op.drop_index("ix_runs_state_wake_at", "runs")
    op.drop_index(op.f("ix_runs_flow_run_id"), "runs")
    op.drop_index(op.f("ix_runs_batch_id"), "runs")

    op.drop_table("runs")
    op.drop_table("rejects")
    op.drop_table("chunks")
    op.drop_table("deliveries")
    op.drop_index(op.f("ix_batches_state"), "batches")

    op.drop_table("batches")
