"""Runs a plan under one schedule in virtual time, and traces everything that happens."""

import asyncio
import functools
import inspect
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

from flows.author import Outcome, RunResult, ending_of
from flows.calling import LeafCall, LeafResult
from flows.engine import Event, LoopStarted, Prepared, RunLeaf, StepFinished, StepStarted, run_plan
from flows.engine import run_leaf as run_inline
from flows.errors import FatalError, OrchestrationError, TransientError
from flows.model import StepPath
from flows.planning import Plan
from flows.state import Context, fingerprint
from flows.testkit.clock import EndlessWait, VirtualLoop, end_tasks
from flows.testkit.faults import Faults, Stop
from flows.testkit.schedules import Delay, Schedule

TraceEventKind: TypeAlias = Literal["started", "entered", "returned", "failed", "raised", "stopped", "finished"]
"""The event of a step, of the handler that it calls (entered to stopped), or of an outcome that was reported."""
ENDS: tuple[TraceEventKind, ...] = ("returned", "failed", "raised", "stopped")
MAX_TURNS = 200_000
IGNORE = 0.3
"""The share of calls that return normally although they are cancelled."""


class PlanRunner(Protocol):
    """Runs a plan: `run_plan`, or a broken variant of it in the tests of this kit."""

    def __call__(self, prepared: Prepared, *, run_leaf: RunLeaf) -> Coroutine[Any, Any, RunResult]: ...


@dataclass(frozen=True)
class TraceEvent:
    """One event in a run, at a virtual time, about the step or group at a path."""

    at: float
    kind: TraceEventKind
    path: StepPath


@dataclass
class TracedCall:
    """The calls of one step: the inputs of each attempt, and the result of the one that returned."""

    seen: list[list[str]] = field(default_factory=list[list[str]])
    """By attempt: the fingerprints of the inputs, without contexts."""
    returned: bool = False
    result: Any = None


@dataclass
class RunTrace:
    """Everything that happened in one run."""

    plan: Plan
    schedule: Schedule
    events: list[TraceEvent] = field(default_factory=list[TraceEvent])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    """The outcomes in the order in which they were reported, also of a run that was stopped."""
    sizes: dict[StepPath, int] = field(default_factory=dict[StepPath, int])
    """By path of a loop: the number of its items."""
    batch_sizes: dict[StepPath, int | None] = field(default_factory=dict[StepPath, int | None])
    """By path of a loop: the items per batch."""
    calls: dict[StepPath, TracedCall] = field(default_factory=dict[StepPath, TracedCall])
    given: dict[str, Any] = field(default_factory=dict[str, Any])
    """The fields of the context at the start."""
    result: RunResult | None = None
    stopped: Stop | None = None
    stopped_at: float = 0.0
    stuck: str = ""
    broken: BaseException | None = None
    real_time: bool = False
    """Whether handlers ran in threads, and time was not virtual."""
    fingerprint: str = ""

    @property
    def faulty(self) -> bool:
        """Whether any fault was injected."""
        return any(name.endswith(" fault") or name == "stop" for name in self.schedule.made)


class CallWatch(Protocol):
    """Called before and after the work of a handler; the second call gets the result of the first one."""

    def __call__(self, leaf: LeafCall, before: Any = None) -> Any: ...


class TraceRecorder:
    """Traces a run, and injects the delays and faults of its schedule."""

    def __init__(self, trace: RunTrace, faults: Faults | None, stop: tuple[Stop, int] | None, watch: CallWatch | None):
        self.trace, self.faults, self.stop, self.watch = trace, faults, stop, watch
        self.dead = False
        self.whole: asyncio.Task[RunResult] | None = None

    def note(self, kind: TraceEventKind, path: StepPath) -> None:
        if self.dead:
            return
        loop = asyncio.get_running_loop()
        self.trace.events.append(TraceEvent(loop.time(), kind, path))
        if self.stop is not None and len(self.trace.events) == self.stop[1] and self.whole is not None:
            self.trace.stopped, self.trace.stopped_at = self.stop[0], loop.time()
            if self.stop[0] == "crash":
                self.dead = True
                loop.stop()
            else:
                self.whole.cancel()

    def observe(self, event: Event) -> None:
        match event:
            case StepStarted():
                self.note("started", event.path)
            case LoopStarted():
                self.trace.sizes[event.path] = event.items
                self.trace.batch_sizes[event.path] = event.batch_size
            case StepFinished() if not self.dead:
                self.trace.outcomes.append(event.outcome)
                self.note("finished", event.outcome.path)
            case _:
                pass

    async def run_leaf(self, leaf: LeafCall) -> LeafResult:
        """Run the leaf as direct calls do, but on the event loop and with the delays of the schedule."""
        played = replace(leaf.node.spec, is_async=True, function=self._played_function(leaf))
        leaf = replace(leaf, node=replace(leaf.node, spec=played))
        try:
            await self._pause(f"{leaf.path} begins")
            ended = await run_inline(leaf)
            await self._pause(f"{leaf.path} ends")
        except asyncio.CancelledError as error:
            return LeafResult(ending_of(error))
        return ended

    def _played_function(self, leaf: LeafCall) -> Callable[..., Any]:
        function, path = leaf.node.spec.function, leaf.path

        @functools.wraps(function)
        async def played(*inputs: Any, **options: Any) -> Any:
            call = f"{path}#{leaf.progress.attempts}"
            traced = self.trace.calls.setdefault(path, TracedCall())
            traced.seen.append([value_mark(value) for value in inputs if not isinstance(value, Context)])
            self.note("entered", path)
            if self.dead:
                await _for_ever()
            try:
                late = self.trace.schedule.fraction(f"{call} late") < 0.5
                await self._let_it_work(call, call)
                if not late:
                    await self._inject_fault(leaf, call)
                seen = self.watch(leaf) if self.watch is not None else None
                result = function(*inputs, **options)
                if inspect.isawaitable(result):
                    result = await result
                if self.watch is not None:
                    self.watch(leaf, seen)
                await self._let_it_work(call, f"{call} answer")
                # A call may also fail after its work is done; a retry then does the work a second time.
                if late:
                    await self._inject_fault(leaf, call)
            except asyncio.CancelledError:
                self.note("stopped", path)
                raise
            except FatalError:
                self.note("failed", path)
                raise
            except BaseException:
                self.note("raised", path)
                raise
            self.note("returned", path)
            traced.returned, traced.result = True, result
            return result

        return played

    async def _let_it_work(self, call: str, name: str) -> None:
        """Simulate the duration of a call; some calls ignore a cancellation and return normally."""
        ignores = f"{call} ignores"
        try:
            await self._pause(name)
        except asyncio.CancelledError:
            schedule = self.trace.schedule
            if self.dead or not schedule.allows(ignores) or schedule.fraction(ignores) > IGNORE:
                raise
            schedule.made[ignores] = "ignores that it is cancelled"

    async def _pause(self, name: str) -> None:
        delay: Delay = self.trace.schedule.delay(name)
        if delay.seconds:
            await asyncio.sleep(delay.seconds)
        for _ in range(delay.turns):
            await asyncio.sleep(0)
        if self.dead:
            await _for_ever()

    async def _inject_fault(self, leaf: LeafCall, call: str) -> None:
        if self.faults is None:
            return
        has_timeout = leaf.deadline is not None or leaf.node.retry.attempt_timeout_s is not None
        # A call that has ignored its cancellation would not be cancelled again.
        bounded = has_timeout and f"{call} ignores" not in self.trace.schedule.made
        match self.faults.of_call(self.trace.schedule, call, bounded=bounded):
            case "transient":
                raise TransientError(f"injected into {call}: fails for now")
            case "fatal":
                raise FatalError(f"injected into {call}: fails for good")
            case "hang":
                await _for_ever()
            case None:
                pass


def value_mark(value: Any) -> str:
    """A fingerprint of a value; empty for one that has none."""
    try:
        return fingerprint(value)
    except OrchestrationError:
        return ""


def plain_fields(context: Context) -> dict[str, Any]:
    """The fields of a context, as they are."""
    return {name: context.field_value("data", name) for name in context.data}


def _ignore_report(_: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
    """Ignore the reports of a loop about tasks that failed while their run was killed."""


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def trace_run(
    plan: Plan,
    context: Context,
    schedule: Schedule,
    *,
    faults: Faults | None = None,
    stop: tuple[Stop, int] | None = None,
    watch: CallWatch | None = None,
    engine: PlanRunner = run_plan,
) -> RunTrace:
    """Run a plan under a schedule and return its trace; an error of a broken engine is in the trace too."""
    trace = RunTrace(plan, schedule, given=plain_fields(context))
    recorder = TraceRecorder(trace, faults, stop, watch)
    loop = VirtualLoop(max_turns=MAX_TURNS)
    loop.set_exception_handler(_ignore_report)
    chance = random.getstate()
    random.seed(schedule.seed)
    try:
        recorder.whole = loop.create_task(engine(Prepared(plan, context, recorder.observe), run_leaf=recorder.run_leaf))
        trace.result = loop.run_until_complete(recorder.whole)
    except EndlessWait as stuck:
        trace.stuck = str(stuck)
    except asyncio.CancelledError as cancelled:
        if trace.stopped != "cancel":
            trace.broken = cancelled
    except Exception as error:
        if not recorder.dead:
            trace.broken = error
    finally:
        recorder.dead = True
        loop.allow_more_turns()
        end_tasks(loop)
        loop.close()
        random.setstate(chance)
    return trace
