"""Unifies statuses: stopped runs become `cancelled`, runs whose process is gone become `crashed`."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # A process that recorded its own end also recorded its duration.
    op.execute("UPDATE runs SET status = 'cancelled' WHERE status = 'interrupted' AND seconds IS NOT NULL")
    op.execute("UPDATE runs SET status = 'crashed' WHERE status = 'interrupted'")


def downgrade() -> None:
    op.execute("UPDATE runs SET status = 'interrupted' WHERE status IN ('cancelled', 'crashed')")
