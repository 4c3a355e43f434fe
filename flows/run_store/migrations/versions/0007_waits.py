"""How long calls waited, and for what, apart from their work."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("outcomes", sa.Column("waited_s", sa.Float(), nullable=False, server_default="0"))
    op.add_column("outcomes", sa.Column("waits", sa.JSON))
    op.add_column("outcomes", sa.Column("asked", sa.Float()))


def downgrade() -> None:
    for name in ("waited_s", "waits", "asked"):
        op.drop_column("outcomes", name)
