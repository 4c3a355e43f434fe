"""The Prefect flow of a pipeline: sync code may call it too, and it is deployed by the variable that holds it."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import Flow
from prefect.context import FlowRunContext
from prefect.types.entrypoint import EntrypointType

from flows.calling import loop_is_running, run_to_end
from flows.errors import OrchestrationError

if TYPE_CHECKING:  # it takes a fifth of a second to import, and only deploying needs it
    from prefect.deployments.runner import RunnerDeployment

_REFUSED: ContextVar[list[OrchestrationError] | None] = ContextVar("refused", default=None)
"""Set while Prefect loads the file of a flow that is being deployed; a list, since Prefect drops errors of the file."""


class PipelineFlow(Flow[..., Any]):
    """An async flow that sync code may call too.

    It is made by a call, so Prefect finds no function by which a worker could load it. It is deployed by the variable
    of a module that holds it.
    """

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Run the flow: a coroutine for async code to await, the result itself for sync code."""
        begun: Any = super().__call__(*args, **given)  # pyright: ignore[reportUnknownMemberType]  (many overloads)
        if not asyncio.iscoroutine(begun):
            return begun
        awaited = _with_cancellation(begun)
        return awaited if _can_await() else run_to_end(awaited)

    def with_options(self, **options: Any) -> "PipelineFlow":
        made: Any = super().with_options(**options)
        made.__class__ = PipelineFlow  # Prefect makes a plain flow of it
        return made

    async def ato_deployment(self, name: str, *args: Any, **options: Any) -> "RunnerDeployment":
        """As for any flow; the entrypoint is the variable that holds this flow.

        Raises:
            OrchestrationError: no variable of a module holds it.
        """
        entrypoint = None if self._storage is not None else self._entrypoint_of(options)
        deployment = await super().ato_deployment(name, *args, **options)
        deployment.entrypoint = entrypoint or deployment.entrypoint
        return deployment

    def to_deployment(self, name: str, *args: Any, **options: Any) -> Any:
        """As `ato_deployment`, for sync code."""
        making = self.ato_deployment(name, *args, **options)
        return making if _can_await() else run_to_end(making)

    def serve(self, name: str | None = None, *args: Any, **options: Any) -> None:
        """As for any flow: run it in this process whenever a run is triggered, until the process ends.

        Raises:
            OrchestrationError: no variable of a module holds it, or an event loop runs already.
        """
        if "PREFECT__FLOW_RUN_ID" in os.environ and FlowRunContext.get() is None:
            raise self._called_while_loaded("serve")
        if self._storage is None:
            self._entrypoint_of(options)
        if loop_is_running():
            raise OrchestrationError(
                f"serve() of the flow {self.name!r} waits until the process ends, so it cannot be called where an "
                "event loop runs. Call it in a script, or write "
                f"`await prefect.aserve(await flow.ato_deployment({name!r}))`"
            )
        return super().serve(name, *args, **options)

    async def adeploy(self, name: str, *args: Any, **options: Any) -> Any:
        """As for any flow; without an image, workers on this machine load it from its current folder.

        Raises:
            OrchestrationError: no variable of a module holds it.
        """
        image = options.get("image") or args[1:2]
        if self._storage is not None or image or options.get("entrypoint_type") is EntrypointType.MODULE_PATH:
            return await super().adeploy(name, *args, **options)
        entrypoint = self._entrypoint_of(options)
        if (refused := _REFUSED.get()) is not None:
            refused.append(self._called_while_loaded("deploy"))
            raise refused[-1]
        before = _REFUSED.set(refused := [])
        try:
            placed: Any = await Flow.afrom_source(source=str(Path.cwd()), entrypoint=entrypoint)
        except Exception:
            if refused:
                raise refused[0] from None
            raise
        finally:
            _REFUSED.reset(before)
        return await placed.adeploy(name, *args, **options)

    def deploy(self, name: str, *args: Any, **options: Any) -> Any:
        """As `adeploy`, for sync code."""
        making = self.adeploy(name, *args, **options)
        return making if _can_await() else run_to_end(making)

    def _entrypoint_of(self, options: Any) -> str:
        module, file, variable = self._variable()
        if options.get("entrypoint_type") is EntrypointType.MODULE_PATH:
            return f"{module}.{variable}"
        return f"{os.path.relpath(file)}:{variable}"

    def _variable(self) -> tuple[str, str, str]:
        """The module, its file, and the name in it by which a worker can load this flow."""
        # Do not use `getattr`, which would make lazy modules load; `__mp_main__` is a copy of `__main__`.
        modules = [
            (name, getattr(module, "__dict__", {}))
            for name, module in list(sys.modules.items())
            if name != "__mp_main__"
        ]
        found = [
            (module, str(held["__file__"]), variable)
            for module, held in modules
            if held.get("__file__")
            for variable, value in list(held.items())
            if value is self
        ]
        if not found:
            variable = self.name.replace("-", "_").replace(".", "_")
            raise OrchestrationError(
                f"the flow {self.name!r} cannot be deployed: a worker loads a flow by the name of a variable in a "
                f"file, and no file has this one. Write `{variable}_flow = to_flow(…)` at the top level of a file (in "
                "no function, and in no notebook), and deploy it from there or from a script that imports it"
            )
        # A worker need not run the script that deploys, and cannot run an `__init__.py` that imports relatively.
        return min(found, key=lambda one: (one[0] == "__main__", Path(one[1]).name == "__init__.py"))

    def _called_while_loaded(self, verb: str) -> OrchestrationError:
        return OrchestrationError(
            f"{verb}() of the flow {self.name!r} is called whenever its file is loaded, by workers too; put the call "
            'below `if __name__ == "__main__":`, or into another file that imports the flow'
        )


def is_called_here(flow_run_id: str | None) -> bool:
    """Whether code of this process called the flow of this run; a worker or `serve` starts a process for each run."""
    return flow_run_id is not None and flow_run_id != os.environ.get("PREFECT__FLOW_RUN_ID")


async def _with_cancellation(begun: Coroutine[Any, Any, Any]) -> Any:
    """The result of a flow run; a cancellation in which the flow run has ended is passed on."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        return await begun
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


def _can_await() -> bool:
    """Whether the caller is async code, as far as that can be known: a sync flow is not, even inside an event loop."""
    if not loop_is_running():
        return False
    context = FlowRunContext.get()
    return context is None or context.flow is None or context.flow.isasync
