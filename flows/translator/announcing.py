"""Signals at the end of a run besides its state: a tag for partial successes, an event for a used-up budget."""

import asyncio
import logging
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.context import FlowRunContext
from prefect.events import emit_event

from flows.author import RunResult

logger = logging.getLogger(__name__)
PARTIAL = "partial"
"""The tag of a flow run that was a partial success, because the type of its state is Completed."""
BUDGET_USED = "braid.budget-used"
"""Event of a flow run that its budget stopped."""
_MOST_S = 20.0


async def announce_end(result: RunResult) -> None:
    """Send the signals to the server; an error in sending does not fail the run."""
    context = FlowRunContext.get()
    flow_run: Any = context.flow_run if context is not None else None
    if flow_run is None:
        return
    try:
        async with asyncio.timeout(_MOST_S):
            if result.stopped:
                resource = {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}"}
                payload = {"reason": result.stopped, "run": result.run_id}
                emit_event(BUDGET_USED, resource={**resource, "prefect.resource.name": flow_run.name}, payload=payload)
            if result.status == "partial":
                await _add_tag(flow_run.id)
    except Exception:
        logger.warning("some outcomes of the run could not be reported to the server", exc_info=True)


async def _add_tag(flow_run_id: UUID) -> None:
    async with get_client() as client:
        tags = (await client.read_flow_run(flow_run_id)).tags
        if PARTIAL not in tags:
            await client.update_flow_run(flow_run_id, tags=[*tags, PARTIAL])
