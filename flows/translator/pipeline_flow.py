"""The Prefect flow of a pipeline: sync code may call it too, and it is deployed by the variable that holds it."""

import asyncio
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from prefect import Flow
from prefect.context import FlowRunContext
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from flows.calling import run_to_end
from flows.errors import OrchestrationError


class PipelineFlow(Flow[..., Any]):
    """An async flow that sync code may call too.

    It is made by a call, so Prefect finds no function by which a worker could load it: what it is deployed by is the
    variable of a module that holds it.
    """

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Run the flow: a coroutine for async code to await, the result itself for sync code."""
        begun: Any = super().__call__(*args, **given)  # pyright: ignore[reportUnknownMemberType]  (many overloads)
        return begun if not asyncio.iscoroutine(begun) or _can_await() else run_to_end(begun)

    def with_options(self, **options: Any) -> "PipelineFlow":
        made: Any = super().with_options(**options)
        made.__class__ = PipelineFlow  # Prefect makes a plain flow of it
        return made

    async def ato_deployment(self, name: str, *args: Any, **options: Any) -> RunnerDeployment:
        """As of any flow, with the entrypoint of the variable that holds this one.

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

    async def adeploy(self, name: str, *args: Any, **options: Any) -> Any:
        """As of any flow; without an image, workers on this machine load it from the folder that it is in now.

        Raises:
            OrchestrationError: no variable of a module holds it.
        """
        if self._storage is not None or options.get("image") is not None:
            return await super().adeploy(name, *args, **options)
        entrypoint = self._entrypoint_of({})
        placed: Any = await Flow.afrom_source(source=str(Path.cwd()), entrypoint=entrypoint)
        return await placed.adeploy(name, *args, **options)

    def deploy(self, name: str, *args: Any, **options: Any) -> Any:
        """As `adeploy`, for sync code."""
        making = self.adeploy(name, *args, **options)
        return making if _can_await() else run_to_end(making)

    def _entrypoint_of(self, options: Any) -> str:
        module, variable = self._module_and_name()
        if options.get("entrypoint_type") is EntrypointType.MODULE_PATH:
            return f"{module.__name__}.{variable}"
        return f"{os.path.relpath(str(module.__file__))}:{variable}"

    def _module_and_name(self) -> tuple[ModuleType, str]:
        """The module, and the name in it, by which a worker can load this flow."""
        found = [
            (module, name)
            for module in list(sys.modules.values())
            if getattr(module, "__file__", None)
            for name, value in list(vars(module).items())
            if value is self
        ]
        if not found:
            variable = self.name.replace("-", "_").replace(".", "_")
            raise OrchestrationError(
                f"the flow {self.name!r} cannot be deployed: a worker loads a flow by the name of a variable in a "
                f"file, and no file has this one. Write `{variable}_flow = to_flow(…)` at the top level of a file (in "
                "no function, and in no notebook), and deploy it from there or from a script that imports it"
            )
        # A script that deploys what it imports need not be run again by the worker.
        return min(found, key=lambda place: place[0].__name__ == "__main__")


def _can_await() -> bool:
    """Whether the caller is async code, as far as that can be known: a sync flow is not, whatever runs around it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    context = FlowRunContext.get()
    return context is None or context.flow is None or context.flow.isasync
