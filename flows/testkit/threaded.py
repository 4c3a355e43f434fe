"""Runs a plan under one schedule with real threads and in real time, and traces it; the checks are the same.

The schedule chooses only how long calls take and which of them fail. The rest is left to the threads of the machine,
so two runs of one schedule may differ, and each is judged by its own trace.
"""

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from flows.author import Attempt
from flows.calling import LeafCall, LeafResult
from flows.engine import Prepared, run_plan
from flows.engine import run_leaf as run_inline
from flows.errors import FatalError, TransientError
from flows.model import StepPath
from flows.planning import Plan
from flows.state import Context
from flows.testkit.faults import Faults, Stop
from flows.testkit.schedules import Schedule
from flows.testkit.trace import (
    PlanRunner,
    RunTrace,
    TracedCall,
    TraceEvent,
    TraceEventKind,
    TraceRecorder,
    plain_fields,
    value_mark,
)

PATIENCE_S = 60.0
"""After this long, a run counts as stuck."""
_OVER: tuple[str, ...] = ("timed_out", "abandoned", "cancelled")


class _ThreadRecorder(TraceRecorder):
    """Traces a run whose handlers are in threads; the end of an attempt counts when the event loop learns of it."""

    def __init__(self, trace: RunTrace, faults: Faults | None, stop: tuple[Stop, int] | None) -> None:
        super().__init__(trace, faults, stop, None)
        self.lock = threading.Lock()
        self.released = threading.Event()
        """Set when the run is over: calls that hang then end."""
        self.returned: dict[tuple[StepPath, int], tuple[TraceEventKind, Any]] = {}
        self.entered: set[tuple[StepPath, int]] = set()
        self.closed: set[tuple[StepPath, int]] = set()
        self.loop: asyncio.AbstractEventLoop | None = None

    def note(self, kind: TraceEventKind, path: StepPath) -> None:
        assert self.loop is not None
        if not self.dead:
            self.trace.events.append(TraceEvent(self.loop.time(), kind, path))
            if self.stop is not None and len(self.trace.events) == self.stop[1]:
                self.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self.whole is not None and not self.whole.done() and not self.dead:
            assert self.loop is not None
            self.trace.stopped, self.trace.stopped_at = "cancel", self.loop.time()
            self.whole.cancel()

    async def run_leaf(self, leaf: LeafCall) -> LeafResult:
        spec = replace(leaf.node.spec, is_async=False, isolation="thread", function=self._threaded_function(leaf))
        noticed = leaf.attempted

        def attempted(attempt: Attempt) -> None:
            self._close(leaf.path, attempt)
            noticed(attempt)

        return await run_inline(replace(leaf, node=replace(leaf.node, spec=spec), attempted=attempted))

    def _close(self, path: StepPath, attempt: Attempt) -> None:
        """Record how an attempt ended for the event loop; later results of its thread do not count."""
        with self.lock:
            self.closed.add((path, attempt.number))
            kind, result = self.returned.get((path, attempt.number), (None, None))
            if attempt.status in _OVER:
                if (path, attempt.number) not in self.entered:
                    self.note("entered", path)  # its thread had not begun yet
                self.note("stopped", path)
            elif kind is not None:
                self.note(kind, path)
                if kind == "returned":
                    traced = self.trace.calls[path]
                    traced.returned, traced.result = True, result

    def _threaded_function(self, leaf: LeafCall) -> Callable[..., Any]:
        function, path = leaf.node.spec.function, leaf.path

        @functools.wraps(function)
        def threaded(*inputs: Any, **options: Any) -> Any:
            number = leaf.progress.attempts
            seen = [value_mark(value) for value in inputs if not isinstance(value, Context)]
            with self.lock:
                if (path, number) in self.closed:
                    return None  # abandoned before the thread began
                self.trace.calls.setdefault(path, TracedCall()).seen.append(seen)
                self.entered.add((path, number))
                self.note("entered", path)
            kind: TraceEventKind = "raised"
            result: Any = None
            try:
                result = self._work(leaf, f"{path}#{number}", function, inputs, options)
                kind = "returned"
                return result
            except FatalError:
                kind = "failed"
                raise
            finally:
                with self.lock:
                    if (path, number) not in self.closed:
                        self.returned[path, number] = (kind, result)

        return threaded

    def _work(
        self, leaf: LeafCall, call: str, function: Callable[..., Any], inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        late = self.trace.schedule.fraction(f"{call} late") < 0.5
        time.sleep(self.trace.schedule.delay(call).seconds)
        if not late:
            self._fail(leaf, call)
        result = function(*inputs, **options)
        if inspect.iscoroutine(result):
            result = _finish(result)
        if late:
            self._fail(leaf, call)
        return result

    def _fail(self, leaf: LeafCall, call: str) -> None:
        if self.faults is None:
            return
        bounded = leaf.deadline is not None or leaf.node.retry.attempt_timeout_s is not None
        match self.faults.of_call(self.trace.schedule, call, bounded=bounded):
            case "transient":
                raise TransientError(f"injected into {call}: fails for now")
            case "fatal":
                raise FatalError(f"injected into {call}: fails for good")
            case "hang":
                self.released.wait(PATIENCE_S)
            case None:
                pass


def _finish(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that only yields to the event loop and never waits."""
    while True:
        try:
            work.send(None)
        except StopIteration as ended:
            return ended.value


def trace_in_threads(
    plan: Plan,
    context: Context,
    schedule: Schedule,
    *,
    faults: Faults | None = None,
    stop: tuple[Stop, int] | None = None,
    engine: PlanRunner = run_plan,
) -> RunTrace:
    """Run a plan with every handler in a thread of its own, in real time, and return its trace.

    Its runs cannot be killed, so that a `stop` always cancels.
    """
    trace = RunTrace(plan, schedule, given=plain_fields(context), real_time=True)
    recorder = _ThreadRecorder(trace, faults, stop)

    async def whole() -> None:
        recorder.loop = asyncio.get_running_loop()
        recorder.whole = asyncio.ensure_future(
            engine(Prepared(plan, context, recorder.observe), run_leaf=recorder.run_leaf)
        )
        ended, _ = await asyncio.wait({recorder.whole}, timeout=PATIENCE_S)
        if not ended:
            trace.stuck = f"it has not ended within {PATIENCE_S:g} s"
            recorder.whole.cancel()
            await asyncio.wait({recorder.whole})

    try:
        asyncio.run(whole())
    finally:
        recorder.dead = True
        recorder.released.set()
    assert recorder.whole is not None
    if recorder.whole.cancelled():
        if trace.stopped != "cancel" and not trace.stuck:
            trace.broken = asyncio.CancelledError()
    elif recorder.whole.exception() is not None:
        trace.broken = recorder.whole.exception()
    else:
        trace.result = recorder.whole.result()
    return trace
