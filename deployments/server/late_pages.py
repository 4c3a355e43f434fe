"""Writes the pages of runs that could not write them, because they were cancelled or their process is gone."""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact

from deployments.catalog import Catalog, load_catalog
from deployments.runs import load_handlers
from deployments.screen import how_to_resume
from deployments.server.findings import Finding
from deployments.settings import Settings
from flows.author import Outcome, RunResult, RunStatus, outcome_from_row
from flows.errors import OrchestrationError
from flows.loaders import load_pipeline_text
from flows.model import StepPath
from flows.planning import make_plan
from flows.reports import RUN_PAGE, Page, run_page, run_pages
from flows.state import Context

if TYPE_CHECKING:
    from flows.run_store import RunningBranch, RunRecord, RunStore

logger = logging.getLogger(__name__)
TOPIC = "runs"
_FIRST, _PLAN = f"braid-{RUN_PAGE}", "braid-plan"
_DAY_S, _AT_ONCE = 86_400.0, 20
"""The most runs per call; the others follow at the next call."""
_REASONS = {"cancelled": "the run was stopped here", "crashed": "the process of the run ended here"}


async def write_missing_pages(
    client: PrefectClient, store: "RunStore", records: "Iterable[RunRecord]", settings: Settings
) -> list[Finding]:
    """Write the pages of runs that ended without a result and have none; a finding for each of them. Their first
    page, which still shows the last progress, is replaced by one that says that they have ended.
    """
    lately = time.time() - _DAY_S
    over = [each for each in records if each.status in _REASONS and each.started > lately][:_AT_ONCE]
    chosen = {str(each.flow_run_id): each for each in over}
    if not chosen:
        return []
    known: dict[str, list[Artifact]] = {}
    of_them = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(each) for each in chosen]))
    for artifact in await client.read_artifacts(artifact_filter=of_them):
        known.setdefault(str(artifact.flow_run_id), []).append(artifact)
    missing = [record for each, record in chosen.items() if not _has_pages(known.get(each, []), record)]
    if not missing:
        return []
    load_handlers(settings)
    catalog = load_catalog(settings)
    found: list[Finding] = []
    for record in missing:
        flow_run = UUID(str(record.flow_run_id))
        first, pages = _pages(record, store, catalog)
        old = next((each for each in known.get(str(flow_run), []) if each.key == _FIRST), None)
        if old is not None:
            await client.update_artifact(old.id, ArtifactUpdate(data=first.markdown, description=first.description))
        for page in [*pages, *([first] if old is None else [])]:
            await client.create_artifact(
                ArtifactCreate(
                    key=f"braid-{page.key}",
                    type="markdown",
                    description=page.description,
                    data=page.markdown,
                    flow_run_id=flow_run,
                )
            )
        found.append(
            Finding(TOPIC, "ok", f"{record.run_id}: its pages were written here, because the run could not write them")
        )
    return found


def _has_pages(artifacts: Iterable[Artifact], record: "RunRecord") -> bool:
    """Whether this execution of the flow run has written its final pages."""
    return any(
        artifact.key not in (_FIRST, _PLAN)
        and artifact.created is not None
        and artifact.created.timestamp() > record.started
        for artifact in artifacts
    )


def _pages(record: "RunRecord", store: "RunStore", catalog: Catalog) -> tuple[Page, list[Page]]:
    """The first page and the others, from the run store; only a short page if the pipeline can no longer be read."""
    try:
        if record.yaml is None:
            raise OrchestrationError("its pipeline could not be recorded")
        loaded = load_pipeline_text(record.yaml, file=f"run {record.run_id}")
        plan = make_plan(loaded.pipeline, catalog=catalog.pipelines)
        result = _result(record, store)
        return run_page(plan, result, []), run_pages(plan, result)
    except Exception as error:  # an error in one page must not prevent the others
        logger.warning("run %s: its pages could not be made: %s", record.run_id, error)
        text = f"The run {record.status}. `braid runs show {record.run_id}` shows every step that ended."
        return Page(RUN_PAGE, "The result of the run, at a glance", text), [
            Page("outcomes", "The outcome of every step", text)
        ]


def _result(record: "RunRecord", store: "RunStore") -> RunResult:
    ended = [outcome_from_row(row) for row in store.outcomes(record.run_id)]
    going = [_stopped(step, record) for step in store.running_branches(record.run_id)]
    outcomes = sorted([*ended, *going], key=lambda outcome: StepPath(outcome.path).sort_key)
    return RunResult(
        record.pipeline,
        record.run_id,
        cast("RunStatus", record.status),  # the pages show the pipeline without outputs
        tuple(outcomes),
        Context({}),
        record.started,
        record.lasted,
        stopped=f"{_REASONS[record.status]}. {how_to_resume(record.run_id)}",
    )


def _stopped(step: "RunningBranch", record: "RunRecord") -> Outcome:
    seconds = max(0.0, record.started + record.lasted - step.started)
    values: Mapping[str, Any] = {"started": step.started, "asked": step.started, "seconds": seconds, "attempts": 1}
    return Outcome(StepPath(step.path), step.step_id, "step", "cancelled", reason=_REASONS[record.status], **values)
