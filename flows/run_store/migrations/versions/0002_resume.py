"""The tables and columns for resuming runs: finished calls, attempts, and chains of runs."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COLUMNS: "tuple[sa.Column[Any], ...]" = (
    sa.Column("resumed_from", sa.String(64)),
    sa.Column("flow_run_id", sa.String(64)),
    sa.Column("source", sa.Text),
    sa.Column("definition", sa.Text),
    sa.Column("host", sa.String(200)),
    sa.Column("process", sa.Integer),
    sa.Column("process_started", sa.Float()),
    sa.Column("heartbeat", sa.Float()),
)


def upgrade() -> None:
    for column in _COLUMNS:
        op.add_column("runs", column)
    op.add_column("runs", sa.Column("lineage", sa.String(64), nullable=False, server_default=""))
    op.execute("UPDATE runs SET lineage = run_id")
    op.create_index("ix_runs_lineage", "runs", ["lineage"])
    op.create_index("ix_runs_flow_run_id", "runs", ["flow_run_id"])
    op.add_column("outcomes", sa.Column("reused", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), nullable=False),
        sa.Column("path", sa.String(200), nullable=False),
        sa.Column("step_id", sa.String(300), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("cost", sa.JSON, nullable=False),
        sa.Column("error", sa.JSON),
    )
    op.create_index("ix_attempts_run_id", "attempts", ["run_id"])
    op.create_table(
        "kept",
        sa.Column("lineage", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(400), primary_key=True),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("step_id", sa.String(300), nullable=False),
        sa.Column("definition", sa.String(64), nullable=False),
        sa.Column("own", sa.String(64), nullable=False),
        sa.Column("undoing", sa.Boolean, nullable=False),
        sa.Column("kept_at", sa.Float(), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_kept_kept_at", "kept", ["kept_at"])


def downgrade() -> None:
    op.drop_table("kept")
    op.drop_table("attempts")
    with op.batch_alter_table("outcomes") as table:
        table.drop_column("reused")
    with op.batch_alter_table("runs") as table:
        table.drop_index("ix_runs_flow_run_id")
        table.drop_index("ix_runs_lineage")
        for name in (*(str(column.name) for column in _COLUMNS), "lineage"):  # pyright: ignore
            table.drop_column(name)
