"""The record of a run in the run store, and the data that a resuming run reuses from the earlier one."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deployments.runs.opening import make_run_store
from deployments.runs.request import Request
from deployments.settings import Settings
from flows.engine import Expectation, Prepared, combine_observers, item_seconds, usual_seconds
from flows.errors import OrchestrationError
from flows.model import without_secrets

if TYPE_CHECKING:
    from flows.run_store import Recorder, RunRecord, RunStore

logger = logging.getLogger(__name__)
DAY_S = 86_400.0


@dataclass(frozen=True)
class Recording:
    """The recorder of a run, and the amounts of its budget that earlier runs of the chain have used."""

    recorder: "Recorder"
    spent: Mapping[str, float]
    expected: Expectation
    item_seconds: Mapping[str, float]

    def start(self, prepared: Prepared, flow_run_id: str | None) -> Prepared:
        """The run with its recorder; called when the run begins."""
        self.recorder.flow_run_id = flow_run_id
        return replace(
            prepared,
            observer=combine_observers(self.recorder, prepared.observer),
            journal=self.recorder,
            spent=self.spent,
            expected=self.expected,
            item_seconds=self.item_seconds,
        )


def start_recording(prepared: Prepared, request: Request, *, settings: Settings) -> Recording:
    """The recording of a run that is about to start; a resuming run reuses the finished steps of the earlier one.

    Raises:
        ChangedPipeline: finished steps of that run no longer fit the plan, and the request does not force them.
        OrchestrationError: the earlier run is still running.
    """
    from flows.run_store import Recorder

    store = make_run_store(settings)
    resumes = request.resumes
    try:
        pipeline = prepared.plan.pipeline
        statistics = store.step_statistics(pipeline.name)
        _forget_old(store, prepared, older_than=time.time() - settings.keep_results_days * DAY_S)
        spent = _take_over(resumes, prepared, store, force=request.force) if resumes is not None else {}
    except BaseException:
        store.close()
        raise
    recorder = Recorder(
        store,
        index=prepared.context.index,
        parameters=without_secrets({**request.parameters, **request.fields}),
        file=request.loaded.file or None,
        resumes=resumes,
    )
    expected = Expectation(pipeline.stuck_after_s or settings.stuck_after_s, usual_seconds(statistics))
    return Recording(recorder, spent, expected, item_seconds(statistics))


def _forget_old(store: "RunStore", prepared: Prepared, *, older_than: float) -> None:
    """Drop expired results: finished calls, and the files of large outputs."""
    store.forget(older_than=older_than)
    services = prepared.context.services
    if "storage" not in services:
        return
    for run_id, uris in store.output_files(older_than=older_than).items():
        try:
            for folder in {uri.rpartition("/")[0] for uri in uris}:  # each run has its own file
                if folder.rpartition("/")[2] == run_id:
                    services["storage"].delete(folder, recursive=True)
        except OrchestrationError as error:  # the next run tries again
            logger.warning("%s: the files of its outputs could not be removed: %s", run_id, error)
        else:
            store.forget_output_files(run_id)


def _take_over(resumes: "RunRecord", prepared: Prepared, store: "RunStore", *, force: bool) -> dict[str, float]:
    """The budget that the earlier runs have used, after checking that the last of them can be resumed."""
    from flows.run_store import measure_fit

    if resumes.is_alive(time.time()) and not force:
        raise OrchestrationError(
            f"run {resumes.run_id} is still going on (process {resumes.process} on {resumes.host}); "
            "stop it first, or wait for its end"
        )
    if not force:
        measure_fit(prepared.plan, prepared.context, store.finished_calls(resumes.chain)).check()
    if resumes.status == "running":
        store.stop(resumes.run_id, "crashed")
    prepared.context.identity = replace(prepared.context.identity, resumes=resumes.run_id)
    return store.spent_before(resumes)
