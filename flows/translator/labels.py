"""The name and tags of a flow run, so that people can find and distinguish it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from prefect import get_client
from prefect.context import FlowRunContext

from flows.engine import Prepared
from flows.errors import OrchestrationError
from flows.model import Pipeline, hide_secrets, render
from flows.planning import Leaf, Plan
from flows.state import Context

logger = logging.getLogger(__name__)
SUBJECTS = ("source", "query", "question")
"""Parameters for the subject of a run, if a pipeline has them."""
MAX_NAME, MAX_TAG = 200, 120


def uses_index(plan: Plan) -> bool:
    """Whether a step of the plan reads or writes an index."""
    return any(step_uses_index(leaf) for leaf in plan.leaves)


def step_uses_index(leaf: Leaf) -> bool:
    """Whether a step reads or writes an index, according to its declaration."""
    effects = leaf.spec.effects or ()
    return "index_store" in leaf.spec.needs or any(effect.startswith("index.") for effect in effects)


def run_name(plan: Plan, context: Context) -> str:
    """The name that the pipeline declares (`run_name`), else its own, its index if it uses one, and its subject.

    A resuming run is named after the run that it resumes.
    """
    pipeline, fields = plan.pipeline, context.fork().data
    if context.identity.resumes:
        return _short(f"{pipeline.name} · resumes {context.identity.resumes}", MAX_NAME)
    if pipeline.run_name is not None:
        known = {"pipeline": pipeline.name, "index": context.index, "run_id": context.execution_id}
        try:
            rendered = render(pipeline.run_name, {**known, **{name: fields[name] for name in fields}})
            return _short(str(rendered), MAX_NAME)
        except OrchestrationError as error:
            logger.warning("run_name cannot be made: %s", error)
    index = [context.index] if uses_index(plan) else []
    about = _about(pipeline, fields) or [context.execution_id]
    return _short(" · ".join([pipeline.name, *index, *about]), MAX_NAME)


def run_tags(plan: Plan, context: Context) -> list[str]:
    """Tags of the flow run: its pipeline, its index, its source."""
    fields = context.fork().data
    tags = [f"pipeline:{plan.pipeline.name}"]
    tags += [f"index:{context.index}"] if uses_index(plan) else []
    source = fields.get("source")
    tags += [f"source:{source}"] if isinstance(source, str) and source else []
    return [_short(tag, MAX_TAG) for tag in tags]


@contextlib.asynccontextmanager
async def labelled(prepared: Prepared) -> AsyncGenerator[None]:
    """Set the name and tags of the current flow run while the block runs, which does not wait for that."""
    labelling = asyncio.ensure_future(_label(prepared))
    try:
        yield
    finally:
        await labelling


async def _label(prepared: Prepared) -> None:
    """Do so in one request; an error in it does not fail the run."""
    running = FlowRunContext.get()
    if running is None or running.flow_run is None:
        return
    plan, context, flow_run = prepared.plan, prepared.context, running.flow_run
    tags = {*flow_run.tags, *run_tags(plan, context)}
    name = run_name(plan, context)
    try:
        async with get_client() as client:
            await client.update_flow_run(flow_run.id, name=name, tags=sorted(tags))
        flow_run.name = name
    except Exception as error:  # the client may raise any error when the server is unreachable
        logger.warning("the flow run could not be named: %s", error)


def _about(pipeline: Pipeline, fields: Mapping[str, Any]) -> list[str]:
    """The subject of a run: its source or its question, else its required texts."""
    named = [name for name in SUBJECTS if name in fields]
    required = [name for name, parameter in pipeline.parameters.items() if parameter.required and name in fields]
    return [value for name in named or required if isinstance(value := fields[name], str) and value]


def _short(text: str, most: int) -> str:
    shown = " ".join(hide_secrets(text).split())
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
