"""Runs sync handlers on a Dask or Ray cluster instead of in threads.

Only the place of execution changes: limits, retries, timeouts, cost and merges stay with the engine. The cluster finds
a handler by its module and name. Services are sent as factories, and each process of the cluster creates them once. A
cluster that the run started itself ends with the run.
"""

import asyncio
import importlib.util
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

from flows.author import Call, HandlerSpec
from flows.calling.remote import ClusterEngine, RemoteCall, pack
from flows.errors import OrchestrationError
from flows.planning import Plan

OPENING_S = 90.0
_IMPORT_S = 20.0
_COUNT = {  # a client that cannot connect may end its whole process, so it runs in a process of its own
    "dask": """
import sys
from distributed import Client
with Client(sys.argv[1], timeout=float(sys.argv[2]), set_as_default=False) as client:
    print(len(client.ncores()))
""",
    "ray": """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(sum(1 for node in ray.nodes() if node["Alive"]))
""",
}


class Cluster:
    """The cluster of one run; used on its event loop only."""

    def __init__(self, engine: ClusterEngine) -> None:
        self._engine = engine

    def submit(self, function: Callable[..., Any], *arguments: Any, call: Call) -> RemoteCall:
        """Call `function(*arguments, call)` on the cluster, which imports the function by its name.

        Raises:
            FatalError: the arguments cannot be pickled.
        """
        return self._engine.submit(pack(function, arguments, call), id=uuid.uuid4().hex, name=call.step_id)

    async def close(self) -> None:
        await self._engine.close()


async def open_cluster(plan: Plan) -> Cluster | None:
    """The cluster that a plan's calls run on; None if all of them run in this process.

    Raises:
        OrchestrationError: its package is not installed, or it cannot be reached.
    """
    runner = plan.task_runner
    if runner.name == "threads" or not any(may_leave(leaf.spec) for leaf in plan.leaves):
        return None
    _require(runner.name, f"task_runner {runner.name!r} ({runner.origin})")
    try:
        async with asyncio.timeout(OPENING_S):
            if runner.name == "ray":
                from flows.calling.ray import open_ray

                return Cluster(await open_ray(runner.address))
            from flows.calling.dask import open_dask

            return Cluster(await open_dask(runner.address, threads=plan.limit.value))
    except (OSError, TimeoutError) as error:
        where = f"at {runner.address} cannot be reached" if runner.address else "of the run cannot be started"
        raise OrchestrationError(f"the {runner.name} cluster {where}: {error or 'it does not answer'}") from error


def cluster_workers(name: str, address: str, *, timeout_s: float) -> int:
    """The number of workers (for Ray: nodes) of the cluster at an address; a separate process connects to it.

    Raises:
        OrchestrationError: the package is not installed, or the cluster cannot be reached.
    """
    _require(name, f"{name} at {address}")
    try:
        command = [sys.executable, "-P", "-c", _COUNT[name], address, f"{timeout_s:g}"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s + _IMPORT_S)
    except subprocess.TimeoutExpired:
        raise OrchestrationError(f"the {name} cluster at {address} does not answer") from None
    lines = ended.stdout.split()
    if ended.returncode or not lines:
        reason = next((line for line in reversed(ended.stderr.splitlines()) if line.strip()), "no reason is given")
        raise OrchestrationError(f"the {name} cluster at {address} cannot be reached: {reason.strip()}")
    return int(lines[-1])


def _require(name: str, user: str) -> None:
    module = {"dask": "distributed", "ray": "ray"}[name]
    if importlib.util.find_spec(module) is None:
        raise OrchestrationError(
            f"{user} needs the package {module!r}, which is not installed; "
            f"install the extra: pip install 'braid-pipelines[{name}]'"
        )


def may_leave(spec: HandlerSpec) -> bool:
    """Whether calls of a handler can run on a cluster.

    Coroutines stay on the event loop. Handlers with `isolation: process` stay on this machine, where Braid can kill
    them. A function defined inside another one (as skills are) stays too, because it cannot be imported by its name.
    """
    return not spec.is_async and spec.isolation == "thread" and "<locals>" not in spec.function.__qualname__
