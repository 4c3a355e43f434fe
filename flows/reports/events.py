"""Events for programs that watch stages of jobs: one callback gets all events in order from one thread."""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from flows.author import Outcome, RunResult
from flows.engine import Event, RunFinished, RunStarted, StepFinished, StepStarted
from flows.model import StepPath
from flows.planning import Group, Leaf, Loop, Plan

logger = logging.getLogger(__name__)

JobEventKind: TypeAlias = Literal[
    "run_start", "stage_start", "job_start", "job_ok", "job_fail", "job_skip", "stage_ok", "stage_fail", "run_end"
]


@dataclass(frozen=True)
class JobEvent:
    """One event of a run, a stage or a job; `job` is empty if it is not about a job."""

    kind: JobEventKind
    stage: str = ""
    job: str = ""
    seconds: float = 0.0
    text: str = ""


class JobEvents:
    """An observer that calls `callback` for every event of stages and jobs, one at a time and in order.

    It uses its own thread, so a slow callback delays no job. An exception of the callback is logged, and the next event
    is sent as usual. The run ends when the callback has received all events, but at the latest after `patience_s`
    seconds.
    """

    def __init__(self, callback: Callable[[JobEvent], None], *, patience_s: float = 10.0) -> None:
        self._callback, self._patience_s = callback, patience_s
        self._events: queue.SimpleQueue[JobEvent | None] = queue.SimpleQueue()
        self._stages: dict[str, str] = {}
        self._jobs: dict[str, str] = {}
        self._begun: set[str] = set()
        self._sender: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._start(event.plan, event.run_id)
            case StepStarted():
                self._start_job(event.path, event.id)
            case StepFinished():
                self._finish_job(event.outcome)
            case RunFinished():
                self._finish_run(event.result)
            case _:
                pass

    def _start(self, plan: Plan, run_id: str) -> None:
        stages = [node for node in plan.nodes if isinstance(node, (Group, Loop)) and "." not in node.path]
        self._stages = {node.path: node.id for node in stages}
        self._jobs = {node.path: node.label for node in plan.nodes if isinstance(node, Leaf)}
        self._sender = threading.Thread(target=self._send, name="braid-job-events", daemon=True)
        self._sender.start()
        self._events.put(JobEvent("run_start", text=f"{plan.pipeline.name}: run {run_id}"))

    def _start_job(self, path: StepPath, id: str) -> None:
        stage = self._stage_of(path)
        if stage and stage not in self._begun:
            self._begun.add(stage)
            self._events.put(JobEvent("stage_start", self._stages[stage]))
        self._events.put(JobEvent("job_start", self._stages.get(stage, ""), self._job_label(path, id)))

    def _finish_job(self, outcome: Outcome) -> None:
        why = outcome.error.message if outcome.error else outcome.reason
        stage = self._stage_of(outcome.path)
        name = self._stages.get(stage, "")
        if outcome.is_leaf:
            job = self._job_label(outcome.path, outcome.id)
            kind: JobEventKind = {"succeeded": "job_ok", "skipped": "job_skip"}.get(outcome.status, "job_fail")  # pyright: ignore[reportAssignmentType]
            text = f"Job {job} completed" if kind == "job_ok" else f"Stage {name}: Job {job} {outcome.status}: {why}"
            self._events.put(JobEvent(kind, name, job, outcome.seconds, text))
        elif outcome.path == stage:
            ok = outcome.status == "succeeded"
            self._events.put(JobEvent("stage_ok" if ok else "stage_fail", name, "", outcome.seconds, why))

    def _finish_run(self, result: RunResult | None) -> None:
        text = result.status if result is not None else "stopped"
        self._events.put(JobEvent("run_end", seconds=result.seconds if result is not None else 0.0, text=text))
        self._events.put(None)
        if self._sender is not None:
            self._sender.join(self._patience_s)

    def _send(self) -> None:
        while (event := self._events.get()) is not None:
            try:
                self._callback(event)
            except Exception:
                logger.exception("the callback for %s %s failed; the run goes on", event.kind, event.job)

    def _stage_of(self, path: StepPath) -> str:
        first = next(iter(path.around), path)
        return first if first in self._stages else ""

    def _job_label(self, path: StepPath, id: str) -> str:
        """The name of a job for people: the name of its handler, and the item if it is in a loop."""
        label = self._jobs.get(path.plain)
        return f"{label}{path.item}" if label is not None else id
