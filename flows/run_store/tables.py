"""The tables of the run store; `migrations/` upgrades older databases to them.

Some tables and columns have other names in the database than in Python (`key`). So a renaming here needs no migration.
"""

import sqlalchemy as sa

metadata = sa.MetaData()
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("pipeline", sa.String(200), nullable=False, index=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("index_name", sa.String(200), nullable=False, key="index"),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("started", sa.Float(), nullable=False, index=True),
    sa.Column("seconds", sa.Float()),
    sa.Column("busy_seconds", sa.Float()),
    sa.Column("cost", sa.JSON),
    # The first run of a chain of runs that resume each other; finished calls are kept under it.
    sa.Column("lineage", sa.String(64), nullable=False, index=True, server_default="", key="chain"),
    sa.Column("resumed_from", sa.String(64)),
    sa.Column("flow_run_id", sa.String(64), index=True),
    sa.Column("source", sa.Text, key="file"),
    sa.Column("definition", sa.Text, key="yaml"),
    sa.Column("host", sa.String(200)),
    sa.Column("process", sa.Integer),
    sa.Column("process_started", sa.Float()),
    sa.Column("heartbeat", sa.Float()),
)
outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("path", sa.String(200), primary_key=True),
    sa.Column("step_id", sa.String(300), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("status", sa.String(20), nullable=False, index=True),
    sa.Column("started", sa.Float()),
    sa.Column("seconds", sa.Float(), nullable=False),
    sa.Column("waited_s", sa.Float(), nullable=False, server_default="0"),
    sa.Column("waits", sa.JSON),
    sa.Column("asked", sa.Float()),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("cost", sa.JSON, nullable=False),
    sa.Column("error", sa.JSON),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("failures", sa.JSON, nullable=False),
    sa.Column("reused", sa.Boolean, nullable=False, server_default=sa.false()),
)
attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("path", sa.String(200), nullable=False),
    sa.Column("step_id", sa.String(300), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("started", sa.Float(), nullable=False),
    sa.Column("seconds", sa.Float(), nullable=False),
    sa.Column("cost", sa.JSON, nullable=False),
    sa.Column("error", sa.JSON),
)
running_branches = sa.Table(
    "going",
    metadata,
    sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("path", sa.String(200), primary_key=True),
    sa.Column("step_id", sa.String(300), nullable=False),
    sa.Column("started", sa.Float(), nullable=False),
    sa.Column("done", sa.Integer),
    sa.Column("total", sa.Integer),
    sa.Column("heard", sa.Float()),
    sa.Column("stuck", sa.Boolean, nullable=False, server_default=sa.false()),
)
# The status of each document of every index, as handlers report it (`Call.done_items`, `Call.fail_item`).
documents = sa.Table(
    "documents",
    metadata,
    sa.Column("index_name", sa.String(200), primary_key=True, key="index"),
    sa.Column("name", sa.String(1000), primary_key=True),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("step", sa.String(300), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("runs", sa.Integer, nullable=False),
    sa.Column("updated", sa.Float(), nullable=False),
    sa.Index("ix_documents_status", "index", "status", "name"),
)
# The outputs of each run for display: plain data within limits.
outputs = sa.Table(
    "outputs",
    metadata,
    sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(300), nullable=False),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("shortened", sa.Boolean, nullable=False),
    sa.Column("uri", sa.Text),
)
finished_calls = sa.Table(
    "kept",
    metadata,
    sa.Column("lineage", sa.String(64), primary_key=True, key="chain"),
    sa.Column("key", sa.String(400), primary_key=True),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("step_id", sa.String(300), nullable=False),
    sa.Column("definition", sa.String(64), nullable=False, key="chained_fingerprint"),
    sa.Column("own", sa.String(64), nullable=False, key="own_fingerprint"),
    sa.Column("undoing", sa.Boolean, nullable=False),
    sa.Column("kept_at", sa.Float(), nullable=False, index=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
# The sizes of batches that loops chose by themselves, by the first run of a chain.
batch_sizes = sa.Table(
    "batch_sizes",
    metadata,
    sa.Column("chain", sa.String(64), primary_key=True),
    sa.Column("path", sa.String(200), primary_key=True),
    sa.Column("items", sa.Integer, nullable=False),
)
# The rates of resources that all runs share, see `flows.run_store.shared_rates`.
rates = sa.Table(
    "rate_meters",
    metadata,
    sa.Column("name", sa.String(300), primary_key=True),
    sa.Column("grants", sa.BigInteger, nullable=False),
)
rate_slots = sa.Table(
    "rate_places",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("meter", sa.String(300), nullable=False, index=True, key="rate"),
    sa.Column("amount", sa.Float(), nullable=False),
    sa.Column("until", sa.Float(), nullable=False),
)
