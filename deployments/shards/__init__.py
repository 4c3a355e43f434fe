"""One ingestion in several deployment runs: the list is split, the runs are watched, one report adds them up."""

from deployments.shards.flow_runs import ConnectShards, FlowRunState, ShardServer
from deployments.shards.ingest import Sharding, ingest_in_shards, read_tolerance
from deployments.shards.report import CombinedReport, report_json, report_tables
from deployments.shards.service import ShardedIngestion

__all__ = [
    "CombinedReport",
    "ConnectShards",
    "FlowRunState",
    "ShardServer",
    "ShardedIngestion",
    "Sharding",
    "ingest_in_shards",
    "read_tolerance",
    "report_json",
    "report_tables",
]
