"""Runs and outcomes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("pipeline", sa.String(200), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("index_name", sa.String(200), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("seconds", sa.Float()),
        sa.Column("busy_seconds", sa.Float()),
        sa.Column("cost", sa.JSON),
    )
    op.create_index("ix_runs_pipeline", "runs", ["pipeline"])
    op.create_index("ix_runs_started", "runs", ["started"])
    op.create_table(
        "outcomes",
        sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("path", sa.String(200), primary_key=True),
        sa.Column("step_id", sa.String(300), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("started", sa.Float()),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("cost", sa.JSON, nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("failures", sa.JSON, nullable=False),
    )
    op.create_index("ix_outcomes_status", "outcomes", ["status"])


def downgrade() -> None:
    op.drop_table("outcomes")
    op.drop_table("runs")
