"""When a chunk was planned."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column(
        "chunks",
        sa.Column(
            "planned_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="null for requests, which are sent as they come, and before revision 0010",
        ),
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_column("chunks", "planned_at")
