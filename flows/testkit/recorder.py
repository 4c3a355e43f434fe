"""One run of a plan under one schedule, in virtual time, and a log of everything that happened in it."""

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
from flows.errors import FatalError, TransientError
from flows.model import StepPath
from flows.planning import Plan
from flows.state import Context
from flows.testkit.clock import VirtualLoop, WaitsForever, end_tasks
from flows.testkit.faults import Faults, Stop
from flows.testkit.schedules import Delay, Schedule

Kind: TypeAlias = Literal["started", "entered", "returned", "failed", "raised", "stopped", "finished"]
"""A step; its handler, which returns, fails for good, raises or is stopped; the outcome of whatever is declared."""
ENDS: tuple[Kind, ...] = ("returned", "failed", "raised", "stopped")
MOST_TURNS = 200_000


class Engine(Protocol):
    """What runs a plan: `run_plan`, or a variant of it that a test of the kit has broken."""

    def __call__(self, prepared: Prepared, *, run_leaf: RunLeaf) -> Coroutine[Any, Any, RunResult]: ...


@dataclass(frozen=True)
class LoggedEvent:
    """Something that happened to the thing at `path`."""

    at: float
    kind: Kind
    path: StepPath


@dataclass
class Record:
    """All that one run left."""

    plan: Plan
    schedule: Schedule
    events: list[LoggedEvent] = field(default_factory=list[LoggedEvent])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    """As they were reported, so also those of a run that was stopped."""
    sizes: dict[StepPath, int] = field(default_factory=dict[StepPath, int])
    """Items by path of a loop."""
    result: RunResult | None = None
    stopped: Stop | None = None
    stopped_at: float = 0.0
    stuck: str = ""
    broken: BaseException | None = None
    fingerprint: str = ""

    @property
    def faulty(self) -> bool:
        """Whether anything was made to go wrong."""
        return any(name.endswith(" fault") or name == "stop" for name in self.schedule.made)


class Watch(Protocol):
    """Called before and after a handler does its work; the call before returns what the call after is given."""

    def __call__(self, leaf: LeafCall, before: Any = None) -> Any: ...


class _Recorder:
    """Notes what happens, and makes happen what the schedule says."""

    def __init__(self, record: Record, faults: Faults | None, stop: tuple[Stop, int] | None, watch: Watch | None):
        self.record, self.faults, self.stop, self.watch = record, faults, stop, watch
        self.dead = False
        self.whole: asyncio.Task[RunResult] | None = None

    def note(self, kind: Kind, path: StepPath) -> None:
        if self.dead:
            return
        loop = asyncio.get_running_loop()
        self.record.events.append(LoggedEvent(loop.time(), kind, path))
        if self.stop is not None and len(self.record.events) == self.stop[1] and self.whole is not None:
            self.record.stopped, self.record.stopped_at = self.stop[0], loop.time()
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
                self.record.sizes[event.path] = event.items
            case StepFinished() if not self.dead:
                self.record.outcomes.append(event.outcome)
                self.note("finished", event.outcome.path)
            case _:
                pass

    async def run_leaf(self, leaf: LeafCall) -> LeafResult:
        """Run the leaf as direct calls do, but on the event loop, and as slowly as the schedule says."""
        played = replace(leaf.node.spec, is_async=True, function=self._played(leaf))
        leaf = replace(leaf, node=replace(leaf.node, spec=played))
        try:
            await self._pause(f"{leaf.path} begins")
            ended = await run_inline(leaf)
            await self._pause(f"{leaf.path} ends")
        except asyncio.CancelledError as error:
            return LeafResult(ending_of(error))
        return ended

    def _played(self, leaf: LeafCall) -> Callable[..., Any]:
        function, path = leaf.node.spec.function, leaf.path

        @functools.wraps(function)
        async def played(*inputs: Any, **options: Any) -> Any:
            call = f"{path}#{leaf.progress.attempts}"
            self.note("entered", path)
            if self.dead:
                await _for_ever()
            try:
                late = self.record.schedule.fraction(f"{call} late") < 0.5
                await self._pause(call)
                if not late:
                    await self._fail(leaf, call)
                seen = self.watch(leaf) if self.watch is not None else None
                result = function(*inputs, **options)
                if inspect.isawaitable(result):
                    result = await result
                if self.watch is not None:
                    self.watch(leaf, seen)
                await self._pause(f"{call} answer")
                # Also when the work is done a call may fail: what it did has then been done once too often.
                if late:
                    await self._fail(leaf, call)
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
            return result

        return played

    async def _pause(self, name: str) -> None:
        delay: Delay = self.record.schedule.delay(name)
        if delay.seconds:
            await asyncio.sleep(delay.seconds)
        for _ in range(delay.turns):
            await asyncio.sleep(0)
        if self.dead:
            await _for_ever()

    async def _fail(self, leaf: LeafCall, call: str) -> None:
        if self.faults is None:
            return
        bounded = leaf.deadline is not None or leaf.node.retry.attempt_timeout_s is not None
        match self.faults.of_call(self.record.schedule, call, bounded=bounded):
            case "transient":
                raise TransientError(f"injected into {call}: fails for now")
            case "fatal":
                raise FatalError(f"injected into {call}: fails for good")
            case "hang":
                await _for_ever()
            case None:
                pass


def _ignore(_: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
    """What a loop says of tasks that failed while a run was killed interests nobody."""


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def record_run(
    plan: Plan,
    context: Context,
    schedule: Schedule,
    *,
    faults: Faults | None = None,
    stop: tuple[Stop, int] | None = None,
    watch: Watch | None = None,
    engine: Engine = run_plan,
) -> Record:
    """Run a plan under a schedule; whatever comes of it, also a broken engine, is in the record."""
    record = Record(plan, schedule)
    recorder = _Recorder(record, faults, stop, watch)
    loop = VirtualLoop(most_turns=MOST_TURNS)
    loop.set_exception_handler(_ignore)
    chance = random.getstate()
    random.seed(schedule.seed)
    try:
        recorder.whole = loop.create_task(engine(Prepared(plan, context, recorder.observe), run_leaf=recorder.run_leaf))
        record.result = loop.run_until_complete(recorder.whole)
    except WaitsForever as stuck:
        record.stuck = str(stuck)
    except asyncio.CancelledError as cancelled:
        if record.stopped != "cancel":
            record.broken = cancelled
    except Exception as error:
        if not recorder.dead:
            record.broken = error
    finally:
        recorder.dead = True
        loop.allow_more_turns()
        end_tasks(loop)
        loop.close()
        random.setstate(chance)
    return record
