"""The status of the documents of each index."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "documents",
        sa.Column("index_name", sa.String(200), primary_key=True),
        sa.Column("name", sa.String(1000), primary_key=True),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("step", sa.String(300), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("runs", sa.Integer, nullable=False),
        sa.Column("updated", sa.Float(), nullable=False),
    )
    op.create_index("ix_documents_status", "documents", ["index_name", "status", "name"])


def downgrade() -> None:
    op.drop_table("documents")
