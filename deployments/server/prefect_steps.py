"""The build step of prefect.yaml, with which `prefect deploy` creates the same deployment as `braid deploy`."""

from typing import Any

from prefect import get_client
from prefect.client.schemas.responses import DeploymentResponse

from deployments.catalog import load_catalog
from deployments.server.deploying import deploy
from deployments.server.desired import ROOT
from deployments.settings import load_settings


def braid_deploy(pipeline: str) -> dict[str, Any]:
    """Deploy a pipeline with its schedules, and return the fields that Prefect then writes again."""
    settings = load_settings()
    deploy([pipeline], catalog=load_catalog(settings), settings=settings)
    with get_client(sync_client=True) as client:
        return _fields(client.read_deployment_by_name(f"{pipeline}/{pipeline}"))


def _fields(known: DeploymentResponse) -> dict[str, Any]:
    environment = known.job_variables.get("env")
    return {
        "description": known.description,
        "version": known.version,
        "tags": known.tags,
        "folder": str(ROOT),
        **({"environment": environment} if environment else {}),
    }
