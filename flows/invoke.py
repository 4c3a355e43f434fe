"""One attempt at one handler: its inputs read, its function called where it belongs, its result turned into a delta."""

import asyncio
import importlib
import inspect
import logging
import tempfile
import typing
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, cast

from flows.calls import Call
from flows.classify import classified, error_info, message_of
from flows.clusters import Cluster, may_leave
from flows.context import Context
from flows.deltas import Delta
from flows.errors import BudgetUsedUp, FatalError, MissingRead, StepCancelled, StepTimeout, TransientError
from flows.executors import call_in_thread
from flows.expressions import render, template_names
from flows.limits import RetryCount
from flows.meter import Meter
from flows.plan import Leaf
from flows.prices import add_up
from flows.processes import call_in_process
from flows.registry import REGISTRY, HandlerSpec
from flows.remote_calls import Report, report_of
from flows.results import Attempt, FatalFailure, Status, Success, TransientFailure, now
from flows.windows import Slot, Window

logger = logging.getLogger(__name__)
GRACE_S = 0.1
"""How long a thread that was told to stop may take before it counts as abandoned."""


class Abandoned(StepTimeout):
    """The call took too long and could not be stopped; its thread goes on, its result will be dropped."""


@dataclass(frozen=True)
class Done:
    """What a successful attempt gave."""

    delta: Delta
    value: Any
    quality: float | None = None


@dataclass
class LeafCall:
    """One handler call as the engine hands it to a runner, and what its attempts leave behind."""

    node: Leaf
    path: str
    id: str
    context: Context
    """The branch's context; not to be written: what the call changes comes back as a delta."""
    deadline: float | None = None
    """On the event loop's clock."""
    windows: tuple[Window, ...] = ()
    """Held during each attempt."""
    slot: Slot | None = None
    item: str | None = None
    key: str = ""
    """Under which its result is kept: the same in every run of a pipeline on the same items."""
    definition: str = ""
    own_definition: str = ""
    published_key: str | None = None
    """Of a call that stages: the key of the one that makes it lasting."""
    undo_of: Done | None = None
    """If set, the call undoes what an earlier one with this result did."""
    tried: "Callable[[Attempt], None]" = lambda attempt: None
    turn: "Callable[[LeafCall], AbstractAsyncContextManager[None]] | None" = None
    """Entered after the windows for each attempt: the limits of the resources it uses."""
    retries: RetryCount | None = None
    cluster: Cluster | None = None
    """Where it is called, if not in this process."""
    attempts: int = 0
    started: float | None = None
    seconds: float | None = None
    call: Call = field(default_factory=Call)
    abandoned: bool = False
    is_trying: bool = False
    """Whether an attempt is going on, and not only waiting for its turn."""
    costs: dict[str, float] = field(default_factory=dict[str, float])
    error: BaseException | None = None
    meter: Meter = field(default_factory=Meter)

    def give_way(self) -> None:
        """Leave the place to another branch or item while this one waits to be tried again.

        Not before it is sure that it will be: what waits for the place must first know how this one ended.
        """
        if self.slot is not None:
            self.slot.let_go()

    def undoing(self, done: Done) -> "LeafCall":
        """The call that undoes this one, which gave `done`."""
        return LeafCall(self.node, self.path, f"undo {self.id}", self.context, windows=self.windows, item=self.item,
                        meter=self.meter, undo_of=done, tried=self.tried, turn=self.turn)  # fmt: skip


@dataclass(frozen=True)
class LeafResult:
    """How a call ended, all attempts together."""

    status: Status
    done: Done | None = None
    error: BaseException | None = None
    reused: bool = False
    """Taken over from an earlier run."""


class RunLeaf(Protocol):
    """How a leaf is run; all retries included. Never raises; a cancelled call is a result too."""

    async def __call__(self, leaf: LeafCall) -> LeafResult: ...


async def attempt(leaf: LeafCall) -> Done:
    """Try once.

    Raises:
        TransientError: it failed and may succeed when tried again (`StepTimeout` and `Abandoned` are such).
        FatalError: it failed for good.
        BudgetUsedUp: it was not tried, because the run's budget allows no more calls.
        asyncio.CancelledError: the result is no longer wanted.
    """
    loop = asyncio.get_running_loop()
    retry, deadline = leaf.node.retry, leaf.deadline
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout_at(deadline):
                await _take_turn(leaf, held)
            if deadline is not None and loop.time() >= deadline:
                raise TimeoutError  # a turn that came at once, but too late
        except TimeoutError as error:
            raise StepTimeout(f"{leaf.id}: the time was up before its turn came") from error
        except TransientError:
            # Not called, and yet an attempt: what it uses is failing, or cannot be asked for a place.
            leaf.attempts += 1
            leaf.started = leaf.started or now()
            raise
        if retry.attempt_timeout_s is not None:
            until = loop.time() + retry.attempt_timeout_s
            deadline = until if deadline is None else min(deadline, until)
        spec = leaf.node.spec
        if leaf.undo_of is None and not leaf.meter.may_start(spec.name):
            raise BudgetUsedUp(leaf.meter.refusal)
        leaf.attempts += 1
        started, began = now(), loop.time()
        leaf.started = leaf.started or started
        charge = leaf.meter.start(spec.name)
        leaf.call = Call(
            leaf.id, leaf.attempts, leaf.context.identity, leaf.item, price=spec.price, on_cost=charge.add
        )  # fmt: skip
        error: BaseException | None = None
        leaf.is_trying = True
        try:
            return await _call(leaf, spec, deadline)
        except BaseException as raised:
            error = raised
            raise
        finally:
            leaf.is_trying = False
            cost = leaf.meter.end(charge)
            leaf.costs = add_up([leaf.costs, cost])
            leaf.tried(
                Attempt(leaf.attempts, _verdict(error), started, loop.time() - began, cost,
                        error_info(error) if error is not None else None)
            )  # fmt: skip


def _verdict(error: BaseException | None) -> Literal["succeeded", "transient", "fatal", "timed_out", "cancelled"]:
    match error:
        case None:
            return "succeeded"
        case asyncio.CancelledError():
            return "cancelled"
        case StepTimeout():
            return "timed_out"
        case TransientError():
            return "transient"
        case _:
            return "fatal"


async def _take_turn(leaf: LeafCall, held: AsyncExitStack) -> None:
    if leaf.slot is not None:
        await leaf.slot.hold()
    for window in leaf.windows:
        await held.enter_async_context(window)
    if leaf.turn is not None:
        await held.enter_async_context(leaf.turn(leaf))


async def _call(leaf: LeafCall, spec: HandlerSpec, deadline: float | None) -> Done:
    options = _options(leaf, spec)
    if leaf.undo_of is not None:
        return await _undo(leaf, spec, leaf.undo_of, options, deadline)
    if spec.call_parameter is not None:
        options[spec.call_parameter] = leaf.call
    if spec.takes_context:
        view = leaf.context.fork(
            reads=frozenset(leaf.node.reads.values()) if spec.reads is not None else None,
            writes=frozenset(leaf.node.writes.values()) if spec.writes is not None else None,
        )
        arguments: list[Any] = [view]
    else:
        view = leaf.context.fork()
        arguments = _inputs(leaf, spec)
    result = await _run(leaf, spec, arguments, options, deadline)
    match result:
        case Success():
            result = result.value
        case TransientFailure():
            raise TransientError(result.message, retry_after_s=result.retry_after_s) from result.exception
        case FatalFailure():
            raise FatalError(result.message) from result.exception
        case _:
            pass
    try:
        return _done(leaf, spec, view, result)
    except (TransientError, FatalError):
        raise
    except Exception as error:  # a value that a context cannot hold, or a quality score that fails
        raise classified(spec, error) from error


async def _undo(leaf: LeafCall, spec: HandlerSpec, done: Done, options: dict[str, Any], deadline: float | None) -> Done:
    """Call the handler's `undo` with what the handler read and what it gave; its own result is of no interest."""
    assert spec.undo is not None, f"{spec.name} has no undo"
    reads: list[Any] = [leaf.context.fork()] if spec.takes_context else _inputs(leaf, spec)
    hints = typing.get_type_hints(spec.undo)
    wanted = {
        name: leaf.call if hints.get(name) is Call else options[name]
        for name, parameter in inspect.signature(spec.undo).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and (hints.get(name) is Call or name in options)
    }
    undoing = replace(
        spec, function=spec.undo, is_async=inspect.iscoroutinefunction(spec.undo), isolation="thread"
    )  # fmt: skip
    await _run(leaf, undoing, [*reads, done.value], wanted, deadline)
    return Done((), None)


def _done(leaf: LeafCall, spec: HandlerSpec, view: Context, result: Any) -> Done:
    """Turn what the function returned into writes; what it did to its inputs stays with them."""
    outputs = _outputs(leaf, spec, result)
    for name, value in outputs.items():
        view.data[name] = value
    delta = view.delta()
    quality = spec.quality(result) if spec.quality is not None else None
    return Done(delta, result, quality)


def _outputs(leaf: LeafCall, spec: HandlerSpec, result: Any) -> Mapping[str, Any]:
    writes = leaf.node.writes
    if spec.takes_context:
        # A context's handler may return outputs beside what it wrote.
        pairs = cast("Mapping[str, Any]", result if isinstance(result, Mapping) else {})
        return {writes.get(name, name): value for name, value in pairs.items()}
    if not writes:
        return {}
    if len(writes) == 1:
        (target,) = writes.values()
        return {target: result}
    if not isinstance(result, Mapping):
        raise FatalError(f"{spec.name} declares the writes {', '.join(writes)}, so it must return a mapping of them, "
                         f"not {type(result).__name__}")  # fmt: skip
    pairs = cast("Mapping[str, Any]", result)
    missing = [name for name in writes if name not in pairs]
    unknown = [str(name) for name in pairs if name not in writes]
    if missing or unknown:
        raise FatalError(
            f"{spec.name} declares the writes {', '.join(writes)}; its result lacks {', '.join(missing) or 'none'} "
            f"and has the undeclared {', '.join(unknown) or 'none'}"
        )
    return {writes[name]: pairs[name] for name in writes}


def _inputs(leaf: LeafCall, spec: HandlerSpec) -> list[Any]:
    view = leaf.context.fork()
    values: list[Any] = []
    for read in spec.reads or ():
        source = leaf.node.reads[read.name]
        if source in view.data:
            values.append(view.data[source])
        elif read.required:
            known = ", ".join(sorted(map(str, view.data))) or "none"
            raise MissingRead(f"{leaf.id} reads the field {source!r}, which nothing has written; there are: {known}")
        else:
            values.append(inspect.signature(spec.function).parameters[read.name].default)
    return values


def _options(leaf: LeafCall, spec: HandlerSpec) -> dict[str, Any]:
    declared = leaf.node.options
    if any(template_names(value) for value in declared.values()):
        declared = render(dict(declared), leaf.context.fork().data)
    try:
        model = spec.options.model_validate(dict(declared))
    except ValueError as error:
        raise FatalError(f"{leaf.id}: {error}") from error
    return {name: getattr(model, name) for name in type(model).model_fields}


async def _run(
    leaf: LeafCall, spec: HandlerSpec, arguments: list[Any], options: dict[str, Any], deadline: float | None
) -> Any:
    began = asyncio.get_running_loop().time()
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            if spec.is_async:
                return await spec.function(*arguments, **options)
            if spec.isolation == "process":
                return await _in_process(leaf, spec, arguments, options)
            if leaf.cluster is not None and leaf.undo_of is None and may_leave(spec):
                return await _on_cluster(leaf, leaf.cluster, spec, arguments, options)
            return await _in_thread(leaf, spec, arguments, options)
    except asyncio.CancelledError:
        leaf.call.cancel()
        raise
    except StepCancelled as error:
        if leaf.call.cancelled:
            raise StepTimeout(f"{leaf.id} stopped when told to") from error
        raise FatalError(f"{leaf.id}: {error}") from error
    except TimeoutError as error:
        if limit.expired():
            leaf.call.cancel()
            took = asyncio.get_running_loop().time() - began
            if leaf.abandoned:
                raise Abandoned(f"{leaf.id} timed out after {took:.2f} s and could not be stopped; "
                                "its late result will be dropped") from error  # fmt: skip
            raise StepTimeout(f"{leaf.id} timed out after {took:.2f} s") from error
        raise TransientError(message_of(error)) from error
    except (TransientError, FatalError):
        raise
    except Exception as error:
        raise classified(spec, error) from error


async def _in_thread(leaf: LeafCall, spec: HandlerSpec, arguments: list[Any], options: dict[str, Any]) -> Any:
    leaf.abandoned = False
    future = call_in_thread(lambda: spec.function(*arguments, **options), name=f"braid-{leaf.id}")
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        leaf.call.cancel()
        # A moment for a handler that watches `call.cancelled`; one that does not is left to itself.
        done, _ = await asyncio.wait([future], timeout=GRACE_S)
        if done:
            future.exception()
        else:
            leaf.abandoned = True
            future.cancel()
        raise


async def _in_process(leaf: LeafCall, spec: HandlerSpec, arguments: list[Any], options: dict[str, Any]) -> Any:
    call_options = {name: value for name, value in options.items() if name != spec.call_parameter}
    with tempfile.NamedTemporaryFile(prefix="braid-call-", suffix=".jsonl") as ledger:
        there = replace(leaf.call, ledger=ledger.name, costs={}, failures=[], items=[])
        try:
            result, delta = await call_in_process(
                run_by_name, spec.function.__module__, spec.name, arguments, call_options, there
            )
        finally:
            leaf.call.read_ledger(ledger.name)
    if delta:
        arguments[0].apply(delta)
    return result


async def _on_cluster(
    leaf: LeafCall, cluster: Cluster, spec: HandlerSpec, arguments: list[Any], options: dict[str, Any]
) -> Any:
    leaf.abandoned = False
    call = leaf.call
    call_options = {name: value for name, value in options.items() if name != spec.call_parameter}
    there = replace(call, costs={}, failures=[], on_cost=None)
    remote = cluster.submit(run_by_name, spec.function.__module__, spec.name, arguments, call_options, call=there)

    def take_over(report: Report) -> None:
        call.add_cost(report.costs)
        call.failures += report.failures

    def take_over_late(answer: "asyncio.Future[bytes]") -> None:
        """Count what a call reported whose result is no longer wanted."""
        if not answer.cancelled() and answer.exception() is None:
            take_over(report_of(answer.result()))

    try:
        answer = await asyncio.shield(remote.answer)
    except asyncio.CancelledError:
        call.cancel()
        leaf.abandoned = not await remote.stop()
        remote.answer.add_done_callback(take_over_late)
        raise
    report = report_of(answer)
    take_over(report)
    if report.error is not None:
        raise report.error
    result, delta = report.result
    if delta:
        arguments[0].apply(delta)
    return result


def run_by_name(module: str, name: str, arguments: list[Any], options: dict[str, Any], call: Call) -> tuple[Any, Delta]:
    """In a worker process: find the handler again, call it, and bring back what it left."""
    importlib.import_module(module)
    spec = REGISTRY.get(name)
    call.price = spec.price
    if spec.call_parameter is not None:
        options[spec.call_parameter] = call
    result = spec.function(*arguments, **options)
    delta: Delta = arguments[0].delta() if spec.takes_context else ()
    return result, delta


def status_of(leaf: LeafCall, error: BaseException) -> Status:
    """The status that an attempt's last error makes of a call."""
    if isinstance(error, asyncio.CancelledError):
        return "abandoned" if leaf.abandoned else "cancelled"
    if isinstance(error, BudgetUsedUp):
        return "cancelled"
    if isinstance(error, Abandoned):
        return "abandoned"
    return "timed_out" if isinstance(error, StepTimeout) else "failed"
