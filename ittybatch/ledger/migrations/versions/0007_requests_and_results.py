"""Batches that take requests for a day, and the outbox of results."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_PENDING = sa.text("delivered_at IS NULL AND refused_at IS NULL")
_REFUSED = sa.text("refused_at IS NOT NULL")
_ACCEPTING = sa.text("accepts_until IS NOT NULL")
# SQLite generates values only for an INTEGER primary key.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply this step."""
    op.add_column(
        "batches",
        sa.Column(
            "accepts_until",
            _TIME,
            nullable=True,
            comment="a batch of requests takes more of them until then; null once it takes no more",
        ),
    )
    op.create_index(
        "ix_batches_accepts_until",
        "batches",
        ["accepts_until"],
        sqlite_where=_ACCEPTING,
        postgresql_where=_ACCEPTING,
    )
    op.add_column(
        "chunks",
        sa.Column(
            "growing",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="requests may still add items; it is not done before that ends",
        ),
    )
    op.create_table(
        "requests",
        sa.Column("key", sa.String(64), nullable=False, comment="digest of the Idempotency-Key"),
        sa.Column("digest", sa.String(64), nullable=False, comment="of the request's body"),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False, comment="the ids of its jobs"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_requests")),
    )
    op.create_index(op.f("ix_requests_created_at"), "requests", ["created_at"])
    op.create_table(
        "followers",
        sa.Column("id", _ID, nullable=False),
        sa.Column("job_id", _ID, nullable=False),
        sa.Column("digest", sa.String(32), nullable=False, comment="of `user_metadata`"),
        sa.Column("user_metadata", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_followers_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_followers")),
        sa.UniqueConstraint("job_id", "digest", name=op.f("uq_followers_job_id_digest")),
    )
    op.create_table(
        "sinks",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column(
            "active",
            sa.Boolean(),
            nullable=False,
            comment="whether jobs that end are put into its outbox",
        ),
        sa.Column(
            "on_accepted",
            sa.Boolean(),
            nullable=False,
            comment="whether it also hears of jobs that Ittybit has accepted",
        ),
        sa.Column(
            "lease_owner", sa.String(64), nullable=True, comment="the process that delivers now"
        ),
        sa.Column("lease_until", _TIME, nullable=True),
        sa.Column(
            "failures",
            sa.Integer(),
            nullable=False,
            comment="deliveries in a row that failed because the sink was unavailable",
        ),
        sa.Column("retry_at", _TIME, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("last_delivered_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sinks")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _ID, nullable=False),
        sa.Column("sink", sa.String(100), nullable=False),
        sa.Column("job_id", _ID, nullable=False),
        sa.Column("follower_id", _ID, nullable=True),
        sa.Column("event", sa.String(16), nullable=False, comment="accepted or ended"),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("delivered_at", _TIME, nullable=True),
        sa.Column(
            "refused_at",
            _TIME,
            nullable=True,
            comment="when the sink refused it for good; `ittybatch sinks retry` sends it again",
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["follower_id"], ["followers.id"], name=op.f("fk_outbox_follower_id_followers")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(
        "ix_outbox_pending",
        "outbox",
        ["sink", "id"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )
    op.create_index(
        "ix_outbox_refused",
        "outbox",
        ["sink", "id"],
        sqlite_where=_REFUSED,
        postgresql_where=_REFUSED,
    )


def downgrade() -> None:
    """Take this step back."""
    for table in ("outbox", "sinks", "followers", "requests"):
        op.drop_table(table)
    op.drop_column("chunks", "growing")
    op.drop_index("ix_batches_accepts_until", "batches")
    op.drop_column("batches", "accepts_until")
