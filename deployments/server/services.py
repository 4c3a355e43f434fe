"""All services of a run, those included that need a Prefect server."""

from functools import partial
from typing import TYPE_CHECKING

from deployments.runs import make_services
from deployments.settings import Settings
from flows.state import Services

if TYPE_CHECKING:
    from deployments.shards import ShardedIngestion


def all_services(settings: Settings, index: str) -> Services:
    """The services that the settings describe, and `sharded_ingestion`; nothing is opened before it is asked for."""
    services = make_services(settings, index)
    return services.with_factories({"sharded_ingestion": partial(_sharded_ingestion, settings)})


def _sharded_ingestion(settings: Settings) -> "ShardedIngestion":
    from deployments.server.shard_runs import connect_shards  # imports Prefect, which takes seconds
    from deployments.shards import ShardedIngestion

    return ShardedIngestion(settings, connect_shards)
