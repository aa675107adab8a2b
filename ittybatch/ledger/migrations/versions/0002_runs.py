"""Runs: count the requests that Prefect refuses for a run, and back off."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column(
        "runs",
        sa.Column(
            "failures",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="requests in a row that Prefect refused for this run",
        ),
    )
    op.add_column(
        "runs",
        sa.Column(
            "retry_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the waker tries again after a refused request",
        ),
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_column("runs", "retry_at")
    op.drop_column("runs", "failures")
