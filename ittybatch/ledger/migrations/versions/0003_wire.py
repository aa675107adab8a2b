"""What asking Ittybit about a job came to: failed requests, and the last problem."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COUNTERS = {
    "failed_requests": "requests about it in a row that brought no usable answer",
    "failed_late": "of these, questions asked since its deadline passed",
}


def upgrade() -> None:
    """Apply this step."""
    for name, comment in _COUNTERS.items():
        # With a default, so that neither database rewrites a table full of jobs.
        column = sa.Column(name, sa.Integer(), nullable=False, server_default="0", comment=comment)
        op.add_column("jobs", column)
    op.add_column(
        "jobs",
        sa.Column("last_problem", sa.Text(), nullable=True, comment="what the last of them said"),
    )


def downgrade() -> None:
    """Take this step back."""
    for name in ("last_problem", *_COUNTERS):
        op.drop_column("jobs", name)
