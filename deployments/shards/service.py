"""The service `sharded_ingestion`: lets the handler `ingest_in_shards` start a sharded ingestion inside a run."""

import logging
from collections.abc import Mapping
from typing import Any

from deployments.catalog import load_catalog
from deployments.runs import Request
from deployments.settings import Settings
from deployments.shards.flow_runs import ConnectShards
from deployments.shards.ingest import PIPELINE, Sharding, ingest_in_shards, read_tolerance
from deployments.shards.report import report_json

logger = logging.getLogger("handlers.ingestion.sharding")


class ShardedIngestion:
    """Runs the shards on the server that `connect` reaches."""

    def __init__(self, settings: Settings, connect: ConnectShards) -> None:
        self._settings, self._connect = settings, connect

    async def __call__(
        self, parameters: Mapping[str, Any], shards: int, *, index: str, work_pool: str, tolerated_failure: str
    ) -> dict[str, Any]:
        """The report as JSON."""
        catalog = load_catalog(self._settings)
        report = await ingest_in_shards(
            Request(catalog.find(PIPELINE), parameters, index=index),
            Sharding(shards, work_pool, read_tolerance(tolerated_failure)),
            settings=self._settings,
            connect=self._connect,
            announce=lambda line: logger.info("%s", line),
        )
        return report_json(report)
