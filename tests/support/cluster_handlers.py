"""Handlers that run on a cluster; a module, so that its processes can import them."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from flows.author import Call, handler
from flows.state import Context, Services, fingerprint


class Counter:
    """A service that counts how often it was created in its process, and how often it was used."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.asked = 0


def services() -> Services:
    return Services({"counter": Counter})


@handler(writes="out")
def mix(first: Any = None, second: Any = None, *, salt: str = "") -> str:
    return fingerprint([first, second, salt])[:12]


@handler(writes={"bag": "append"}, effects=())
def drop(first: Any = None, *, salt: str = "") -> list[str]:
    return [fingerprint([first, salt])[:12]]


@handler(writes="where")
def tell_where() -> int:
    return os.getpid()


@handler(writes="where_async", effects=())
async def tell_where_async() -> int:
    return os.getpid()


@handler
def write_in_context(context: Context) -> None:
    context.data["seen"].append(context.data["item"])


@handler(writes={"answers": "append"}, price=lambda units: units["tokens"] / 10)
def ask(item: int, *, call: Call) -> list[tuple[int, int, int]]:
    """The process of the call, and how often services were created there."""
    counter = call.services["counter"]
    counter.asked += 1
    call.report_cost(tokens=item)
    if item == 3:
        call.fail_item("three", "not liked")
    return [(os.getpid(), Counter.made, item * 2)]


@handler(writes="survived")
def die_once(*, folder: str) -> int:
    marker = Path(folder) / "died"
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


@handler(effects=())
def wait_for_the_end(*, listens: bool, folder: str, call: Call) -> None:
    """Wait until the call is asked to stop, or until a file exists."""
    while not (Path(folder) / "go").exists():
        if listens:
            call.check_cancelled()
        time.sleep(0.01)
    call.report_cost(late=1)
    (Path(folder) / "gone").touch()


@handler
def spend_in_the_cluster_and_fail(*, call: Call) -> None:
    call.report_cost(tokens=7)
    raise ValueError("broken")
