"""What is written down of a run, and what of an earlier one it goes on from."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deployments.settings import Settings
from flows.engine import Expected, Observer, Prepared, combine_observers, usual_seconds
from flows.errors import OrchestrationError
from flows.model import without_secrets

if TYPE_CHECKING:
    from flows.run_store import Recorder, RunRecord

DAY_S = 86_400.0
_MOST_RECENT = 2000


@dataclass(frozen=True)
class Recording:
    """Who writes a run down, and what the runs that it goes on from have used of its budget."""

    recorder: "Recorder"
    spent: Mapping[str, float]
    expected: Expected

    def of(self, prepared: Prepared, *watching: Observer) -> Prepared:
        """`prepared`, recorded, and watched by others too."""
        return replace(
            prepared,
            observer=combine_observers(self.recorder, *watching),
            journal=self.recorder,
            spent=self.spent,
            expected=self.expected,
        )


@dataclass(frozen=True)
class KnownRuns:
    """What the run store knows of runs, for those who tidy up after dead ones."""

    url: str

    def alive_and_dead(self) -> tuple[set[str], set[str]]:
        """Ids of the runs that go on, with those that they go on from, and of newer ones that do not."""
        from flows.run_store import RunStore

        store = RunStore(self.url)
        try:
            recent, now = store.recent(limit=_MOST_RECENT), time.time()
        finally:
            store.close()
        lineages = {run.lineage for run in recent if run.status == "running" and run.is_alive(now)}
        alive = {run.run_id for run in recent if run.lineage in lineages}
        return alive, {run.run_id for run in recent} - alive


def start_recording(
    prepared: Prepared,
    parameters: Mapping[str, Any],
    *,
    settings: Settings,
    source: str | None = None,
    resumes: "RunRecord | None" = None,
    force: bool = False,
    flow_run_id: str | None = None,
) -> Recording:
    """The observer and journal of a run; with `resumes`, what that run finished is taken over.

    Raises:
        ChangedPipeline: finished work of that run does not fit the plan any more, and `force` is not set.
        OrchestrationError: that run is still going on.
    """
    from flows.run_store import Recorder, RunStore, measure_fit

    store = RunStore(settings.run_store_url)
    spent: dict[str, float] = {}
    try:
        pipeline = prepared.plan.pipeline
        usual = usual_seconds(store.step_statistics(pipeline.name))
        expected = Expected(pipeline.stuck_after_s or settings.stuck_after_s, usual)
        store.forget(older_than=time.time() - settings.keep_results_days * DAY_S)
        if resumes is not None:
            if resumes.is_alive(time.time()) and not force:
                raise OrchestrationError(
                    f"run {resumes.run_id} is still going on (process {resumes.process} on {resumes.host}); "
                    "stop it first, or wait for its end"
                )
            if not force:
                measure_fit(prepared.plan, prepared.context, store.kept_calls(resumes.lineage)).check()
            if resumes.status == "running":
                store.stop(resumes.run_id, "interrupted")
            spent = store.spent_before(resumes)
    except BaseException:
        store.close()
        raise
    if resumes is not None:
        prepared.context.identity = replace(prepared.context.identity, resumes=resumes.run_id)
    recorder = Recorder(
        store,
        index=prepared.context.index,
        parameters=without_secrets(parameters),
        source=source,
        resumes=resumes,
        flow_run_id=flow_run_id,
    )
    return Recording(recorder, spent, expected)
