"""The rates that several processes share."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "rate_meters",
        sa.Column("name", sa.String(300), primary_key=True),
        sa.Column("grants", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "rate_places",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("meter", sa.String(300), nullable=False),
        sa.Column("amount", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
    )
    op.create_index("ix_rate_places_meter", "rate_places", ["meter"])


def downgrade() -> None:
    op.drop_table("rate_places")
    op.drop_table("rate_meters")
