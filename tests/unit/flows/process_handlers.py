"""Handlers that run in a process of their own; a module, so that the worker can import them."""

import os

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
