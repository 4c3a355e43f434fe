"""All services of a run, including those that need a Prefect server."""

from functools import partial
from typing import TYPE_CHECKING

from deployments.runs import make_services
from deployments.settings import Settings
from flows.state import Services

if TYPE_CHECKING:
    from deployments.shards import ShardedIngestion


def all_services(settings: Settings, index: str) -> Services:
    """The services from the settings, and `sharded_ingestion`; each is opened at its first use."""
    services = make_services(settings, index)
    return services.with_factories({"sharded_ingestion": partial(_sharded_ingestion, settings)})


def _sharded_ingestion(settings: Settings) -> "ShardedIngestion":
    from deployments.server.shard_runs import connect_shards  # imports Prefect, which takes seconds
    from deployments.shards import ShardedIngestion

    return ShardedIngestion(settings, connect_shards)
