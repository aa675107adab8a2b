"""Destinations are looked up: an index on those that jobs have."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_GIVEN = sa.text("destination IS NOT NULL")


def upgrade() -> None:
    """Apply this step."""
    op.create_index(
        "ix_jobs_destination",
        "jobs",
        ["destination"],
        unique=False,
        sqlite_where=_GIVEN,
        postgresql_where=_GIVEN,
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_index("ix_jobs_destination", "jobs")
