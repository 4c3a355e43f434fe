"""A deployment as the catalog and `schedules.yaml` describe it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.catalog import Catalog
from deployments.server.form import controls_of
from deployments.server.schedule_file import DeploymentSchedules, ScheduleEntry
from flows.author import OutputField
from flows.errors import OrchestrationError
from flows.loaders import LoadedPipeline
from flows.planning import make_plan
from flows.translator import Overlap, flow_description, form_schema

ROOT = Path(__file__).parents[2]
TAG = "braid"
"""The tag that marks deployments and their runs as Braid's."""
ENTRYPOINTS = "deployments/server/entrypoints.py"
"""The file whose attributes are the flows of the pipelines, from the root of the project."""


@dataclass(frozen=True)
class DesiredDeployment:
    """A deployment as it should be on the server."""

    name: str
    fields: Mapping[str, Any]
    overlap: Overlap | None
    """None lets runs overlap."""
    schedules: Mapping[str, ScheduleEntry] = field(default_factory=dict[str, ScheduleEntry])
    """The schedules by name, as in the file."""
    variables: Mapping[str, str] | None = None
    """Environment variables of its runs in addition to the worker's; None keeps those on the server."""

    @property
    def full_name(self) -> str:
        return f"{self.name}/{self.name}"


def desired_deployment(
    loaded: LoadedPipeline,
    schedules: DeploymentSchedules,
    work_pool: str | None,
    *,
    description: str,
    tags: list[str],
    variables: Mapping[str, str] | None = None,
) -> DesiredDeployment:
    """The deployment of a pipeline on a work pool, with its schedules; without a pool, it keeps its current one."""
    overlap = None if schedules.overlap == "allow" else Overlap(schedules.overlap, schedules.max_runs)
    tags = [*tags, *([overlap.tag] if overlap is not None else [])]
    fields = {**deployment_fields(loaded, work_pool), "description": description, "tags": tags}
    return DesiredDeployment(loaded.pipeline.name, fields, overlap, schedules.schedules, variables)


def deployment_description(loaded: LoadedPipeline, *, catalog: Catalog) -> str:
    """The description of a pipeline's deployment as its form shows it: with the outputs and their types.

    Handlers must have been loaded.
    If the pipeline cannot be planned here, for example without the team's handlers, it has the declared outputs.
    """
    try:
        outputs = make_plan(loaded.pipeline, catalog=catalog.pipelines).outputs
    except OrchestrationError:
        declared = loaded.pipeline.outputs or {}
        outputs = tuple(OutputField(name, each.field, each.description) for name, each in declared.items())
    return flow_description(loaded.pipeline, outputs)


def deployment_fields(loaded: LoadedPipeline, work_pool: str | None) -> dict[str, Any]:
    """The fields of a pipeline's deployment, by their names in Prefect."""
    schema = form_schema(loaded.pipeline, controls_of(loaded.pipeline))
    schema["additionalProperties"] = False  # otherwise the server accepts misspelt parameters, and the run fails
    return {
        "description": loaded.pipeline.description,
        "version": loaded.pipeline.version,
        "tags": [TAG],
        "entrypoint": f"{ENTRYPOINTS}:{attribute_of(loaded.pipeline.name)}",
        "path": str(ROOT),
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        "work_pool_name": work_pool,
        "parameter_openapi_schema": schema,
        "enforce_parameter_schema": True,
    }


def attribute_of(pipeline: str) -> str:
    """The name of a pipeline's flow in that file, without dots, which Prefect would read as attribute access."""
    return pipeline.replace(".", "__")
