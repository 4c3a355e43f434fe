"""One word for each end: runs that were stopped are cancelled, runs whose process is gone have crashed."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # A process that wrote down its own end wrote how long it had lasted, too.
    op.execute("UPDATE runs SET status = 'cancelled' WHERE status = 'interrupted' AND seconds IS NOT NULL")
    op.execute("UPDATE runs SET status = 'crashed' WHERE status = 'interrupted'")


def downgrade() -> None:
    op.execute("UPDATE runs SET status = 'interrupted' WHERE status IN ('cancelled', 'crashed')")
