"""REST: ingestions and other pipelines on the Prefect server, uploads, and the runs that are recorded."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from deployments.screen import read_run, read_runs, run_json
from deployments.service.answers import PipelineInfo, StartedRun
from deployments.service.asking import event
from deployments.service.deployed import follow_run, start_run
from deployments.service.problems import MEDIA_TYPE, problem_of
from deployments.service.rest import ServiceDepends
from deployments.service.state import caller_of
from deployments.service.uploads import Uploaded, uploads_of, write_upload
from flows.errors import OrchestrationError

_PROBLEM: dict[str, Any] = {"description": "Problem details (RFC 9457).", "content": {MEDIA_TYPE: {}}}
router = APIRouter(prefix="/api", tags=["runs"], responses={"4XX": _PROBLEM, "5XX": _PROBLEM})
_EVERY_S = 1.0


class IngestRequest(BaseModel):
    """An ingestion into an index; `parameters` are the other ones of the pipeline `ingest`."""

    source: str | None = Field(default=None, description="A folder or an s3:// prefix; none: the uploaded files.")
    parameters: dict[str, Any] = {}


class RunRequest(BaseModel):
    """A run of a pipeline."""

    index: str = "default"
    parameters: dict[str, Any] = {}


@router.put("/indexes/{index}/uploads/{name}")
async def upload(index: str, name: str, request: Request, service: ServiceDepends) -> Uploaded:
    """Keep the body of the request as a file, which the next ingestion of uploaded files reads."""
    caller_of(request).require_ingest()
    content = await request.body()
    return await service.asking.run(write_upload, service.settings, index, name, content)


@router.post("/indexes/{index}/ingest", status_code=202)
async def ingest(index: str, asked: IngestRequest, request: Request, service: ServiceDepends) -> StartedRun:
    """Start an ingestion on the Prefect server; its answer has the address to follow it."""
    caller_of(request).require_ingest()
    source = asked.source or uploads_of(service.settings, index)
    return await service.asking.run(
        start_run,
        "ingest",
        {**asked.parameters, "source": source},
        index=index,
        settings=service.settings,
        catalog=service.library.catalog,
    )


@router.get("/pipelines")
async def list_pipelines(request: Request, service: ServiceDepends) -> list[PipelineInfo]:
    """The pipelines that can be run, with their parameters."""
    caller_of(request).require_everything("pipelines")
    return [
        PipelineInfo(
            name=name,
            description=pipeline.description or "",
            parameters={
                key: each.model_dump(mode="json", exclude_none=True) for key, each in pipeline.parameters.items()
            },
        )
        for name, pipeline in sorted(service.library.catalog.pipelines.items())
    ]


@router.post("/pipelines/{pipeline}/runs", status_code=202)
async def run_pipeline(pipeline: str, asked: RunRequest, request: Request, service: ServiceDepends) -> StartedRun:
    """Start a run of the pipeline's deployment on the Prefect server."""
    caller_of(request).require_ingest()
    return await service.asking.run(
        start_run,
        pipeline,
        asked.parameters,
        index=asked.index,
        settings=service.settings,
        catalog=service.library.catalog,
    )


@router.get("/flow-runs/{flow_run_id}")
async def show_flow_run(flow_run_id: str, request: Request, service: ServiceDepends) -> StartedRun:
    """A run on the Prefect server as it is now."""
    caller_of(request).require_everything("runs")
    return await service.asking.run(follow_run, flow_run_id, settings=service.settings)


@router.get("/flow-runs/{flow_run_id}/events")
async def follow_flow_run(flow_run_id: str, request: Request, service: ServiceDepends) -> StreamingResponse:
    """Server-sent events: `run` whenever its state changes, `ended` at the end; `problem` if it cannot be read."""
    caller_of(request).require_everything("runs")

    async def events() -> AsyncIterator[str]:
        known: StartedRun | None = None
        while True:
            try:
                run = await service.asking.run(follow_run, flow_run_id, settings=service.settings)
            except OrchestrationError as error:
                yield event("problem", problem_of(error).document(request.url.path))
                return
            if run != known:
                yield event("ended" if run.ended else "run", run.model_dump(mode="json"))
            if run.ended:
                return
            known = run
            await asyncio.sleep(_EVERY_S)

    return StreamingResponse(events(), media_type="text/event-stream")


@router.get("/runs")
async def list_runs(
    request: Request,
    service: ServiceDepends,
    pipeline: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> dict[str, Any]:
    """The recorded runs, the newest first."""
    caller_of(request).require_everything("runs")
    found = await service.searching.run(read_runs, service.library.warm.runs, pipeline=pipeline, limit=limit)
    return {"runs": [asdict(record) | {"yaml": None} for record in found]}


@router.get("/runs/{run}")
async def show_run(run: str, request: Request, service: ServiceDepends) -> dict[str, Any]:
    """One recorded run: how every step ended, its attempts, errors and cost."""
    caller_of(request).require_everything("runs")
    found = await service.searching.run(read_run, service.library.warm.runs, run)
    return run_json(found)
