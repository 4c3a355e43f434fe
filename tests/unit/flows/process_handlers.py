"""Handlers that run in a process of their own; a module, so that the worker can import them."""

import os

from flows.calls import Call
from flows.context import Context
from flows.registry import handler


@handler(writes="worker_pid", isolation="process")
def tell_pid(text: str) -> int:
    return os.getpid()


@handler(isolation="process")
def spin() -> None:
    while True:
        pass


@handler(isolation="process")
def write_in_a_process(context: Context) -> None:
    context.data["pid"] = os.getpid()
    context.data["seen"].append(context.data["text"])


@handler(isolation="process", price=lambda units: units["tokens"] / 10)
def spend_and_spin(*, call: Call) -> None:
    call.report_cost(tokens=5)
    while True:
        pass


@handler(isolation="process")
def spend_and_fail(*, call: Call) -> None:
    call.report_cost(tokens=7)
    call.fail_item("a.pdf", "no text")
    raise ValueError("broken")
