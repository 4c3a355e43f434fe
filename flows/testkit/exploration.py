"""Run a pipeline under many schedules and report the first that breaks a promise, by its number and its causes."""

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
from flows.planning import Group, Leaf, Limit, Overrides, Plan, Sub, make_plan
from flows.state import Context, fingerprint, short_repr
from flows.testkit.effects import EffectWatch
from flows.testkit.faults import Faults
from flows.testkit.invariants import broken_promises
from flows.testkit.oracle import FINE
from flows.testkit.recorder import Engine, Record, record_run
from flows.testkit.schedules import Schedule

Observe = Callable[[Context], Any]
MOST_SHRINKING_RUNS = 400


@dataclass(frozen=True)
class Failure:
    """A schedule that breaks promises, and the fewest choices of it that still do."""

    seed: int
    complaints: tuple[str, ...]
    causes: tuple[str, ...] = ()
    """The choices of the schedule that are enough for it, in words; all others may be left out."""

    def __str__(self) -> str:
        lines = [f"schedule {self.seed}:", *(f"  - {complaint}" for complaint in self.complaints)]
        if self.causes:
            lines += ["  enough for that are:", *(f"    {cause}" for cause in self.causes)]
        return "\n".join(lines)


@dataclass(frozen=True)
class Exploration:
    """What running a pipeline under many schedules has shown."""

    pipeline: str
    schedules: int
    with_faults: int
    failure: Failure | None = None
    notes: tuple[str, ...] = ()
    statuses: dict[str, int] = field(default_factory=dict[str, int])
    """Runs by how they ended: succeeded, partial, failed, cancelled, crashed."""
    seconds: float = 0.0
    fingerprint: str = ""
    """Of the final state of the runs without faults."""

    @property
    def ok(self) -> bool:
        return self.failure is None

    def check(self) -> "Exploration":
        """This exploration, if nothing was wrong.

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
    schedules: int = 1000,
    faults: Faults | None = None,
    observe: Observe | None = None,
    registry: Registry | None = None,
    catalog: dict[str, Pipeline] | None = None,
    overrides: Overrides | None = None,
    first_seed: int = 0,
    engine: Engine = run_plan,
) -> Exploration:
    """Run a pipeline under `schedules` schedules, in virtual time and without threads, until one breaks a promise.

    `make_context` gives each run a context of its own, with services of its own where handlers change any. With
    `faults`, every second schedule has some. `observe(context)` gives what the run left outside of the context (the
    content of a store, as plain data): it must then be as independent of the schedule as the context is.

    The logs of the process are off meanwhile, and `random` is seeded, so that a seed gives the same run again.

    Raises:
        InvalidPipeline: the pipeline cannot run.
    """
    bench = _Bench(_plan(pipeline, make_context, registry, catalog, overrides), make_context, faults, observe, engine)
    began = time.perf_counter()
    with _quiet():
        complaints = bench.learn()
        if complaints:
            return bench.report(Failure(-1, tuple(complaints)), 0, began)
        for seed in range(first_seed, first_seed + schedules):
            complaints = bench.complaints(Schedule(seed, bench.tick_s))
            if complaints:
                return bench.report(bench.shrunk(seed, complaints), seed - first_seed + 1, began)
    return bench.report(None, schedules, began)


def replay_schedule(
    pipeline: Pipeline | Plan,
    make_context: Callable[[], Context],
    seed: int,
    *,
    faults: Faults | None = None,
    observe: Observe | None = None,
    registry: Registry | None = None,
    catalog: dict[str, Pipeline] | None = None,
    overrides: Overrides | None = None,
    engine: Engine = run_plan,
) -> Exploration:
    """Run one schedule of an exploration again, by its number; the other arguments as in `explore`."""
    return explore(
        pipeline,
        make_context,
        schedules=1,
        faults=faults,
        observe=observe,
        registry=registry,
        catalog=catalog,
        overrides=overrides,
        first_seed=seed,
        engine=engine,
    )


def _plan(
    pipeline: Pipeline | Plan,
    make_context: Callable[[], Context],
    registry: Registry | None,
    catalog: dict[str, Pipeline] | None,
    overrides: Overrides | None,
) -> Plan:
    if isinstance(pipeline, Plan):
        return pipeline
    given = list(make_context().data)
    return make_plan(pipeline, registry=registry, catalog=catalog, given=given, overrides=overrides)


class _Bench:
    """One pipeline, what its undisturbed runs leave, and what has been seen of it so far."""

    def __init__(
        self,
        plan: Plan,
        make_context: Callable[[], Context],
        faults: Faults | None,
        observe: Observe | None,
        engine: Engine,
    ) -> None:
        self.plan, self.make_context, self.faults = plan, make_context, faults
        self.observe, self.engine = observe, engine
        self.races = any(
            isinstance(node, Group) and node.merge is not None and node.merge.strategy in RACES for node in plan.nodes
        )
        self.tick_s = min(0.1, _least_timeout(plan) / 10_000)
        self.expected: Record | None = None
        self.fails: str | None = None
        """The path of what does not succeed even when nothing is made to go wrong."""
        self.states: dict[tuple[tuple[str, str, str], ...], tuple[int, str]] = {}
        self.statuses: dict[str, int] = {}
        self.with_faults = 0
        self.notes: list[str] = []
        if self.races:
            self.notes.append("a race (fastest_success) depends on the schedule; final states are not compared")
        if plan.budget:
            self.races = True
            self.notes.append("what a budget stops depends on the schedule; final states are not compared")

    def learn(self) -> list[str]:
        """Run once, one call at a time and without delays: what that leaves is what every schedule must leave."""
        watch = EffectWatch(self.observe)
        alone = replace(self.plan, limit=Limit(1, "one call at a time"))
        record = self._run(alone, Schedule(-1, 0.0, frozenset()), faults=None, watch=watch)
        self.expected = record
        self.notes += watch.notes
        self.fails = next((one.path for one in record.outcomes if one.status not in FINE), None)
        if self.fails is not None:
            self.notes.append(
                f"{self.fails} does not succeed even without faults; what that stops depends on the schedule, so final "
                "states are compared only between runs that ended the same way"
            )
        return [*broken_promises(record), *watch.complaints]

    def complaints(self, schedule: Schedule, *, count: bool = True) -> list[str]:
        """What is wrong with one schedule."""
        assert self.expected is not None
        faults = self.faults if schedule.seed % 2 else None
        stop = faults.of_run(schedule, len(self.expected.events)) if faults is not None else None
        base = self.make_context()
        record = self._run(self.plan, schedule, faults=faults, stop=stop, base=base)
        found = broken_promises(record)
        if count:
            self.with_faults += record.faulty
            ended = "crashed" if record.stopped == "crash" else "cancelled" if record.result is None else ""
            status = ended or (record.result.status if record.result is not None else "")
            self.statuses[status] = self.statuses.get(status, 0) + 1
        if found:
            return found
        if record.stopped == "crash":
            again = self._run(self.plan, Schedule(schedule.seed, self.tick_s, frozenset()), faults=None, base=base)
            return broken_promises(again) or self._differs(again, "after being killed and run again from the start")
        if not record.faulty:
            return self._differs(record, "under this schedule")
        return self._contradicts(record)

    def _differs(self, record: Record, when: str) -> list[str]:
        """A run without faults must end as every other one does."""
        assert self.expected is not None
        if self.races or self.fails is not None:
            return self._contradicts(record)
        found: list[str] = []
        before = {outcome.path: outcome for outcome in self.expected.outcomes}
        for outcome in record.outcomes:
            usual = before.get(outcome.path)
            if usual is not None and outcome.status != usual.status:
                why = outcome.error.message if outcome.error is not None else outcome.reason
                found.append(f"{outcome.path} is {outcome.status} {when} ({why}); else it is {usual.status}")
        if not found and record.fingerprint != self.expected.fingerprint:
            found.append(f"the final state differs {when}: {self._difference(record)}")
        return found

    def _contradicts(self, record: Record) -> list[str]:
        """Two runs in which everything ended the same way must leave the same state, whatever the order was."""
        if self.races or record.result is None or self.observe is not None:
            return []
        # With the messages: a merge strategy may make a result of them.
        key = tuple(sorted((one.path, one.status, one.error.message if one.error else "") for one in record.outcomes))
        seed, state = self.states.setdefault(key, (record.schedule.seed, record.fingerprint))
        if state != record.fingerprint:
            return [f"the same outcomes as under schedule {seed}, but another final state"]
        return []

    def _difference(self, record: Record) -> str:
        assert self.expected is not None
        if record.result is None or self.expected.result is None:
            return "one of the two was stopped"
        mine, usual = record.result.context.data, self.expected.result.context.data
        names = [
            name
            for name in sorted({*mine, *usual}, key=str)
            if fingerprint(mine.get(name)) != fingerprint(usual.get(name))
        ]
        if not names:
            return "not the fields, but documents, tags, the log, marks, or what `observe` gave"
        return "; ".join(
            f"{name} is {short_repr(mine.get(name))}, else {short_repr(usual.get(name))}" for name in names
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
    ) -> Record:
        base = base or self.make_context()
        context = base.fork()
        record = record_run(plan, context, schedule, faults=faults, stop=stop, watch=watch, engine=self.engine)
        if record.result is not None:
            seen = self.observe(context) if self.observe is not None else None
            record.fingerprint = fingerprint([context.fingerprint(), seen])
        return record

    def shrunk(self, seed: int, complaints: list[str]) -> Failure:
        """The failure with as few of the schedule's choices as are enough for some failure."""
        whole = Schedule(seed, self.tick_s)
        self.complaints(whole, count=False)
        kept = dict(whole.made)
        runs, size = 0, max(1, len(kept) // 2)
        while kept and runs < MOST_SHRINKING_RUNS:
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
        return Failure(seed, tuple(complaints), tuple(f"{name} {text}" for name, text in kept.items()))

    def report(self, failure: Failure | None, schedules: int, began: float) -> Exploration:
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
def _quiet() -> Generator[None]:
    """No logs: thousands of runs that fail on purpose would fill them."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


__all__ = ["Exploration", "Failure", "InvalidPipeline", "explore", "replay_schedule"]
