"""Events for Prefect, and flow runs of users that wait for a batch or a job."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_WAITING = sa.text("ended_at IS NULL")
# SQLite generates values only for an INTEGER primary key.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply this step."""
    op.add_column(
        "batches",
        sa.Column(
            "begun_by",
            sa.String(36),
            nullable=True,
            comment="the flow run that began it; another may work for it since",
        ),
    )
    op.create_index(op.f("ix_batches_begun_by"), "batches", ["begun_by"])
    op.create_table(
        "notices",
        sa.Column("id", _ID, nullable=False),
        sa.Column("event", sa.String(50), nullable=False, comment="its name, without the prefix"),
        sa.Column("batch_id", sa.String(64), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("details", sa.JSON(), nullable=False, comment="of its payload, by name"),
        sa.Column(
            "claimed_at",
            _TIME,
            nullable=True,
            comment="when a waker took it to send it; another takes it a minute later",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
    )
    op.create_table(
        "waiters",
        sa.Column("flow_run_id", sa.String(36), nullable=False),
        sa.Column(
            "target",
            sa.String(80),
            nullable=False,
            comment="batch:<id>, job:<id> or run:<flow run's id>",
        ),
        sa.Column("batch_id", sa.String(64), nullable=True),
        sa.Column("job_id", _ID, nullable=True),
        sa.Column("batch_run", sa.String(36), nullable=True),
        sa.Column("since", _TIME, nullable=False),
        sa.Column(
            "waits",
            sa.Integer(),
            nullable=False,
            comment="suspensions so far; each has a key of its own",
        ),
        sa.Column("called_at", _TIME, nullable=True, comment="when it was last resumed"),
        sa.Column("ended_at", _TIME, nullable=True, comment="when it got its result"),
        sa.PrimaryKeyConstraint("flow_run_id", "target", name=op.f("pk_waiters")),
    )
    op.create_index(
        "ix_waiters_waiting",
        "waiters",
        ["flow_run_id"],
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_index("ix_waiters_waiting", "waiters")
    op.drop_table("waiters")
    op.drop_table("notices")
    op.drop_index(op.f("ix_batches_begun_by"), "batches")
    op.drop_column("batches", "begun_by")
