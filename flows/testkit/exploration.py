"""Runs a pipeline under many schedules, and reports the first schedule that breaks a promise, with its causes."""

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from flows.author import RACES, Registry
from flows.engine import run_plan
from flows.errors import InvalidPipeline
from flows.model import Pipeline
from flows.planning import Group, Leaf, Limit, Plan, Sub, make_plan
from flows.state import Context, fingerprint, short_repr
from flows.testkit.effects import EffectWatch
from flows.testkit.evidence import FINE
from flows.testkit.faults import Faults
from flows.testkit.invariants import broken_promises
from flows.testkit.schedules import Schedule
from flows.testkit.trace import PlanRunner, RunTrace, trace_run

Observe = Callable[[Context], Any]
MAX_SHRINKING_RUNS = 400


@dataclass(frozen=True)
class ScheduleFailure:
    """A schedule that breaks promises, and a minimal set of its choices that still breaks one."""

    seed: int
    complaints: tuple[str, ...]
    causes: tuple[str, ...] = ()
    """The choices of the schedule that are enough to break a promise, in words."""

    def __str__(self) -> str:
        lines = [f"schedule {self.seed}:", *(f"  - {complaint}" for complaint in self.complaints)]
        if self.causes:
            lines += ["  enough for that are:", *(f"    {cause}" for cause in self.causes)]
        return "\n".join(lines)


@dataclass(frozen=True)
class Exploration:
    """The result of running a pipeline under many schedules."""

    pipeline: str
    schedules: int
    with_faults: int
    failure: ScheduleFailure | None = None
    notes: tuple[str, ...] = ()
    statuses: dict[str, int] = field(default_factory=dict[str, int])
    """The number of runs by how they ended: succeeded, partial, failed, cancelled, crashed."""
    seconds: float = 0.0
    fingerprint: str = ""
    """The fingerprint of the final state of runs without faults."""

    @property
    def ok(self) -> bool:
        return self.failure is None

    def check(self) -> "Exploration":
        """Return this exploration if no promise was broken.

        Raises:
            AssertionError: a schedule broke a promise; the message is the report.
        """
        if self.failure is not None:
            raise AssertionError(str(self))
        return self

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        verdict = "nothing wrong" if self.ok else "a promise was broken"
        lines = [
            f"{self.pipeline}: {verdict} in {self.schedules} schedules, {self.with_faults} of them with faults "
            f"({ends or 'none ended'}; {self.seconds:.1f} s)"
        ]
        lines += [f"note: {note}" for note in self.notes]
        if self.failure is not None:
            lines += [str(self.failure), f"again: replay_schedule(pipeline, make_context, seed={self.failure.seed}, …)"]
        return "\n".join(lines)


def explore(
    pipeline: Pipeline | Plan,
    make_context: Callable[[], Context],
    *,
    schedules: int | range = 1000,
    faults: Faults | None = None,
    observe: Observe | None = None,
    registry: Registry | None = None,
    shrink: bool = True,
    engine: PlanRunner = run_plan,
) -> Exploration:
    """Run a pipeline under `schedules` schedules, in virtual time and without threads, until one breaks a promise.

    Their seeds count from 0, or are those of a range.

    `make_context` makes a new context for every run, with new services if handlers change any. `registry` has the
    handlers of a pipeline; a plan has them already. With `faults`, every second schedule has some. `observe(context)`
    returns the effects of the run outside of the context (the content of a store, as plain data); like the context,
    they must not depend on the schedule. With `shrink`, a failing schedule is reduced to the choices that are enough.

    During the exploration, logging is off and `random` is seeded, so that a seed always gives the same run.

    Raises:
        InvalidPipeline: the pipeline cannot run.
    """
    if isinstance(pipeline, Pipeline):
        pipeline = make_plan(pipeline, registry=registry, given=list(make_context().data))
    explorer = _Explorer(pipeline, make_context, faults, observe, engine)
    began = time.perf_counter()
    with _without_logging():
        complaints = explorer.learn()
        if complaints:
            return explorer.report(ScheduleFailure(-1, tuple(complaints)), 0, began)
        seeds = schedules if isinstance(schedules, range) else range(schedules)
        for number, seed in enumerate(seeds, start=1):
            complaints = explorer.complaints(Schedule(seed, explorer.tick_s))
            if complaints:
                failure = explorer.shrunk(seed, complaints) if shrink else ScheduleFailure(seed, tuple(complaints))
                return explorer.report(failure, number, began)
    return explorer.report(None, len(seeds), began)


def replay_schedule(
    pipeline: Pipeline | Plan,
    make_context: Callable[[], Context],
    seed: int,
    *,
    faults: Faults | None = None,
    observe: Observe | None = None,
    registry: Registry | None = None,
    engine: PlanRunner = run_plan,
) -> Exploration:
    """Run one schedule of an exploration again, by its number; the other arguments are those of `explore`."""
    return explore(
        pipeline,
        make_context,
        faults=faults,
        observe=observe,
        registry=registry,
        schedules=range(seed, seed + 1),
        engine=engine,
    )


class _Explorer:
    """One pipeline, the trace of its run without disturbance, and the observations so far."""

    def __init__(
        self,
        plan: Plan,
        make_context: Callable[[], Context],
        faults: Faults | None,
        observe: Observe | None,
        engine: PlanRunner,
    ) -> None:
        self.plan, self.make_context, self.faults = plan, make_context, faults
        self.observe, self.engine = observe, engine
        self.races = any(
            isinstance(node, Group) and node.merge is not None and node.merge.strategy in RACES for node in plan.nodes
        )
        self.tick_s = min(0.1, _least_timeout(plan) / 10_000)
        self.expected: RunTrace | None = None
        self.fails: str | None = None
        """The path of a step that does not succeed even without faults."""
        self.states: dict[tuple[tuple[str, str, str], ...], tuple[int, str]] = {}
        self.statuses: dict[str, int] = {}
        self.with_faults = 0
        self.notes: list[str] = []
        if self.races:
            self.notes.append("a race (fastest_success) depends on the schedule; final states are not compared")
        if plan.budget:
            self.races = True
            self.notes.append("the steps that a budget stops depend on the schedule; final states are not compared")

    def learn(self) -> list[str]:
        """Run once, one call at a time and without delays; every schedule must end with the same state."""
        watch = EffectWatch(self.observe)
        alone = replace(self.plan, limit=Limit(1, "one call at a time"))
        trace = self._run(alone, Schedule(-1, 0.0, frozenset()), faults=None, watch=watch)
        self.expected = trace
        self.notes += watch.notes
        self.fails = next((one.path for one in trace.outcomes if one.status not in FINE), None)
        if self.fails is not None:
            self.notes.append(
                f"{self.fails} does not succeed even without faults; the steps that it stops depend on the schedule, "
                "so final states are compared only between runs with the same outcomes"
            )
        return [*broken_promises(trace), *watch.complaints]

    def complaints(self, schedule: Schedule, *, count: bool = True) -> list[str]:
        """The promises that one schedule breaks."""
        assert self.expected is not None
        faults = self.faults if schedule.seed % 2 else None
        stop = faults.of_run(schedule, len(self.expected.events)) if faults is not None else None
        base = self.make_context()
        trace = self._run(self.plan, schedule, faults=faults, stop=stop, base=base)
        found = broken_promises(trace)
        if count:
            self.with_faults += trace.faulty
            ended = "crashed" if trace.stopped == "crash" else "cancelled" if trace.result is None else ""
            status = ended or (trace.result.status if trace.result is not None else "")
            self.statuses[status] = self.statuses.get(status, 0) + 1
        if found:
            return found
        if trace.stopped == "crash":
            again = self._run(self.plan, Schedule(schedule.seed, self.tick_s, frozenset()), faults=None, base=base)
            return broken_promises(again) or self._ending_differences(
                again, "after being killed and run again from the start"
            )
        if not trace.faulty:
            return self._ending_differences(trace, "under this schedule")
        return self._contradictions(trace)

    def _ending_differences(self, trace: RunTrace, when: str) -> list[str]:
        """The differences to the expected run; runs without faults must all end in the same way."""
        assert self.expected is not None
        if self.races or self.fails is not None:
            return self._contradictions(trace)
        found: list[str] = []
        before = {outcome.path: outcome for outcome in self.expected.outcomes}
        for outcome in trace.outcomes:
            usual = before.get(outcome.path)
            if usual is not None and outcome.status != usual.status:
                why = outcome.error.message if outcome.error is not None else outcome.reason
                found.append(f"{outcome.path} is {outcome.status} {when} ({why}); otherwise it is {usual.status}")
        if not found and trace.fingerprint != self.expected.fingerprint:
            found.append(f"the final state differs {when}: {self._state_difference(trace)}")
        return found

    def _contradictions(self, trace: RunTrace) -> list[str]:
        """A complaint if an earlier run had the same outcomes but another final state."""
        if self.races or trace.result is None or self.observe is not None:
            return []
        # Messages count, since a merge strategy may put them into its result.
        key = tuple(sorted((one.path, one.status, one.error.message if one.error else "") for one in trace.outcomes))
        seed, state = self.states.setdefault(key, (trace.schedule.seed, trace.fingerprint))
        if state != trace.fingerprint:
            return [f"the outcomes are the same as under schedule {seed}, but the final state differs"]
        return []

    def _state_difference(self, trace: RunTrace) -> str:
        assert self.expected is not None
        if trace.result is None or self.expected.result is None:
            return "one of the two was stopped"
        mine, usual = trace.result.context.data, self.expected.result.context.data
        names = [
            name
            for name in sorted({*mine, *usual}, key=str)
            if fingerprint(mine.get(name)) != fingerprint(usual.get(name))
        ]
        if not names:
            return "the fields are equal; documents, tags, the log, marks, or the result of `observe` differ"
        return "; ".join(
            f"{name} is {short_repr(mine.get(name))}, otherwise {short_repr(usual.get(name))}" for name in names
        )

    def _run(
        self,
        plan: Plan,
        schedule: Schedule,
        *,
        faults: Faults | None,
        stop: Any = None,
        watch: Any = None,
        base: Context | None = None,
    ) -> RunTrace:
        base = base or self.make_context()
        context = base.fork()
        trace = trace_run(plan, context, schedule, faults=faults, stop=stop, watch=watch, engine=self.engine)
        if trace.result is not None:
            seen = self.observe(context) if self.observe is not None else None
            trace.fingerprint = fingerprint([context.fingerprint(), seen])
        return trace

    def shrunk(self, seed: int, complaints: list[str]) -> ScheduleFailure:
        """The failure with a minimal set of choices that still breaks a promise."""
        whole = Schedule(seed, self.tick_s)
        self.complaints(whole, count=False)
        kept = dict(whole.made)
        runs, size = 0, max(1, len(kept) // 2)
        while kept and runs < MAX_SHRINKING_RUNS:
            names, shorter = list(kept), None
            for start in range(0, len(names), size):
                trial = whole.with_only(frozenset(names[:start] + names[start + size :]))
                runs += 1
                found = self.complaints(trial, count=False)
                if found:
                    shorter, complaints = dict(trial.made), found
                    break
            if shorter is not None and len(shorter) < len(kept):
                kept = shorter
                size = max(1, min(size, len(kept) // 2))
            elif size > 1:
                size //= 2
            else:
                break
        return ScheduleFailure(seed, tuple(complaints), tuple(f"{name} {text}" for name, text in kept.items()))

    def report(self, failure: ScheduleFailure | None, schedules: int, began: float) -> Exploration:
        state = self.expected.fingerprint if self.expected is not None else ""
        return Exploration(
            self.plan.pipeline.name,
            schedules,
            self.with_faults,
            failure,
            tuple(self.notes),
            dict(self.statuses),
            time.perf_counter() - began,
            state,
        )


def _least_timeout(plan: Plan) -> float:
    declared = [node.timeout_s for node in plan.nodes] + [plan.pipeline.timeout_s]
    declared += [node.retry.attempt_timeout_s for node in plan.nodes if isinstance(node, Leaf)]
    declared += [node.plan.pipeline.timeout_s for node in plan.nodes if isinstance(node, Sub)]
    return min((timeout for timeout in declared if timeout is not None), default=float("inf"))


@contextmanager
def _without_logging() -> Generator[None]:
    """Turn logging off, since thousands of runs that fail on purpose would fill the logs."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


__all__ = ["Exploration", "InvalidPipeline", "ScheduleFailure", "explore", "replay_schedule"]
