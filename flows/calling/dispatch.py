"""Call a handler's function on the event loop, in a thread, in a process of its own, or on a cluster."""

import asyncio
import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from flows.author import REGISTRY, Call, HandlerSpec, classified, message_of
from flows.calling.clusters import Cluster, may_leave
from flows.calling.leaf import CallResult, LeafCall
from flows.calling.processes import call_in_process, folder_of_calls
from flows.calling.raised import as_exception
from flows.calling.remote import GRACE_S, RemoteReport, report_of
from flows.calling.threads import call_in_thread
from flows.calling.times import PROCESS
from flows.errors import FatalError, StepAbandoned, StepCancelled, StepTimeout, TransientError
from flows.state import Delta


class Inputs(Protocol):
    """The positional arguments of a call, still as the context stores them."""

    def for_handler(self) -> list[Any]:
        """Copies of the arguments for the function; made in the thread or process where it runs, because copying may
        take long.
        """
        ...

    def for_sending(self) -> list[Any]:
        """The arguments for pickling, which need no copy."""
        ...


@dataclass(frozen=True)
class Work:
    """A function that is to be called, with its arguments."""

    spec: HandlerSpec
    inputs: Inputs
    options: dict[str, Any]
    finish: Callable[[Any], CallResult]
    """Makes the result of the call from the function's return value; runs in the function's thread if it is in this
    process.
    """


async def call_function(leaf: LeafCall, work: Work, deadline: float | None) -> CallResult:
    """The result that `work.finish` makes of the function's return value.

    Raises:
        TransientError, FatalError: the function's error, classified.
        StepTimeout: the deadline (on the event loop's clock) came first; `StepAbandoned` if it could not be stopped.
        asyncio.CancelledError: the result is no longer needed.
    """
    spec, limit = work.spec, asyncio.timeout_at(deadline)
    try:
        async with limit:
            if spec.is_async:
                return work.finish(await _on_loop(work))
            if spec.isolation == "process":
                return work.finish(await _in_process(leaf, work))
            if leaf.cluster is not None and leaf.undo_of is None and may_leave(spec):
                return work.finish(await _on_cluster(leaf, leaf.cluster, work))
            return await _in_thread(leaf, work)
    except asyncio.CancelledError:
        leaf.progress.call.cancel()
        raise
    except StepCancelled as error:
        if leaf.progress.call.cancelled:
            raise StepTimeout(f"{leaf.id} stopped on request") from error
        raise FatalError(f"{leaf.id}: {error}") from error
    except TimeoutError as error:
        if limit.expired():
            leaf.progress.call.cancel()
            # The message leaves out the elapsed seconds (they are in the outcome), so that equal runs have equal
            # errors.
            limit_s = leaf.node.retry.attempt_timeout_s if deadline != leaf.deadline else leaf.node.timeout_s
            text = f"{leaf.id} timed out" + (f" (limit: {limit_s:g} s)" if limit_s is not None else "")
            if leaf.progress.abandoned:
                raise StepAbandoned(f"{text} and could not be stopped; its late result will be dropped") from error
            raise StepTimeout(text) from error
        raise TransientError(message_of(error)) from error
    except (TransientError, FatalError):
        raise
    except Exception as error:
        raise classified(spec, error) from error


async def _on_loop(work: Work) -> Any:
    try:
        return await work.spec.function(*work.inputs.for_handler(), **work.options)
    except (KeyboardInterrupt, GeneratorExit):  # meant for the whole run: Ctrl-C, or the end of the event loop
        raise
    except asyncio.CancelledError as raised:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Nobody has cancelled this call: the handler raised it, or awaited something that was cancelled.
        raise as_exception(raised) from raised
    except BaseException as raised:
        if isinstance(raised, Exception):
            raise
        raise as_exception(raised) from raised


async def _in_thread(leaf: LeafCall, work: Work) -> CallResult:
    leaf.progress.abandoned = False

    def call() -> CallResult:
        return work.finish(work.spec.function(*work.inputs.for_handler(), **work.options))

    future = call_in_thread(call, name=f"braid-{leaf.id}")
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        leaf.progress.call.cancel()
        # Wait briefly for a handler that checks `call.cancelled`; any other handler is abandoned.
        done, _ = await asyncio.wait([future], timeout=GRACE_S)
        if done:
            future.exception()
        else:
            leaf.progress.abandoned = True
            future.cancel()
        raise


async def _in_process(leaf: LeafCall, work: Work) -> Any:
    spec, arguments = work.spec, work.inputs.for_sending()
    call_options = {name: value for name, value in work.options.items() if name != spec.call_parameter}
    with tempfile.NamedTemporaryFile(dir=folder_of_calls(), suffix=".jsonl") as ledger:
        there = replace(leaf.progress.call, ledger=ledger.name, costs={}, failures=[], items=[])
        try:
            result, delta = await call_in_process(
                run_by_name,
                spec.function.__module__,
                spec.name,
                arguments,
                call_options,
                there,
                waits=leaf.progress.times,
            )
        finally:
            leaf.progress.call.read_ledger(ledger.name)
    if delta:
        arguments[0].apply(delta)
    return result


async def _on_cluster(leaf: LeafCall, cluster: Cluster, work: Work) -> Any:
    leaf.progress.abandoned = False
    call, spec, arguments = leaf.progress.call, work.spec, work.inputs.for_sending()
    call_options = {name: value for name, value in work.options.items() if name != spec.call_parameter}
    there = replace(call, costs={}, failures=[], on_cost=None)
    remote = cluster.submit(run_by_name, spec.function.__module__, spec.name, arguments, call_options, call=there)

    def take_over(report: RemoteReport) -> None:
        call.add_cost(report.costs)
        call.failures += report.failures

    def take_over_late(answer: "asyncio.Future[bytes]") -> None:
        """Count the costs and failures of a call whose result is no longer needed."""
        if not answer.cancelled() and answer.exception() is None:
            take_over(report_of(answer.result()))

    try:
        answer = await asyncio.shield(remote.answer)
    except asyncio.CancelledError:
        call.cancel()
        leaf.progress.abandoned = not await remote.stop()
        remote.answer.add_done_callback(take_over_late)
        raise
    report = report_of(answer)
    take_over(report)
    if report.worked_s is not None:
        leaf.progress.times.work_was(report.worked_s, PROCESS)
    if report.error is not None:
        raise report.error
    result, delta = report.result
    if delta:
        arguments[0].apply(delta)
    return result


def run_by_name(module: str, name: str, arguments: list[Any], options: dict[str, Any], call: Call) -> tuple[Any, Delta]:
    """In a worker process: find the handler by name and call it; return its result and its delta."""
    importlib.import_module(module)
    spec = REGISTRY.get(name)
    call.price = spec.price
    if spec.call_parameter is not None:
        options[spec.call_parameter] = call
    result = spec.function(*arguments, **options)
    delta: Delta = arguments[0].delta() if spec.takes_context else ()
    return result, delta
