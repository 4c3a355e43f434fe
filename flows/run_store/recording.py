"""Records a run while it runs; a retried Prefect flow run continues from its earlier record."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flows.engine import Expectation, Prepared, item_seconds, usual_seconds
from flows.run_store.recorder import Recorder
from flows.run_store.store import RunStore


def record_run(
    prepared: Prepared,
    store: RunStore | str,
    *,
    parameters: Mapping[str, Any],
    file: str | None = None,
    flow_run_id: str | None = None,
) -> Prepared:
    """The same run with recording, in an open store or the store of a URL.

    `parameters` are stored as they are, so pass them without secrets; `file` is the pipeline's file. If the flow run
    was recorded before, its successful calls are reused.
    """
    opened = RunStore(store) if isinstance(store, str) else store
    pipeline = prepared.plan.pipeline
    try:
        earlier = opened.of_flow_run(flow_run_id) if flow_run_id is not None else None
        spent = opened.spent_before(earlier) if earlier is not None else {}
        statistics = opened.step_statistics(pipeline.name)
        recorder = Recorder(
            opened,
            index=prepared.context.index,
            parameters=parameters,
            file=file,
            flow_run_id=flow_run_id,
            resumes=earlier,
        )
    except BaseException:
        opened.close()
        raise
    if earlier is not None:
        if earlier.status == "running":
            opened.stop(earlier.run_id, "crashed")
        prepared.context.identity = replace(prepared.context.identity, resumes=earlier.run_id)
    return replace(
        prepared,
        observer=recorder,
        journal=recorder,
        spent=spent,
        expected=Expectation(pipeline.stuck_after_s, usual_seconds(statistics)),
        item_seconds=item_seconds(statistics),
    )
