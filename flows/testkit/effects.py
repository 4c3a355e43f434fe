"""Finds changes that handlers make outside of their context without declaring them, one call at a time."""

import inspect
from collections.abc import Callable
from typing import Any

from flows.calling import LeafCall
from flows.errors import OrchestrationError
from flows.state import Context, fingerprint

_PLAIN = (list, dict, set, bytearray)


class EffectWatch:
    """Compares, before and after every call, the result of `observe` and the plain data that the function can reach."""

    def __init__(self, observe: Callable[[Context], Any] | None) -> None:
        self.observe = observe
        self.complaints: list[str] = []
        self.notes: list[str] = []

    def __call__(self, leaf: LeafCall, before: Any = None) -> Any:
        seen = (self._observed_state(leaf), _reachable(leaf.node.spec.function))
        if before is None:
            return seen
        self._compare(leaf, before, seen)
        return None

    def _observed_state(self, leaf: LeafCall) -> str:
        if self.observe is None or leaf.node.spec.effects:
            return ""
        return fingerprint(self.observe(leaf.context.fork()))

    def _compare(self, leaf: LeafCall, before: Any, after: Any) -> None:
        spec = leaf.node.spec
        if before[0] != after[0]:
            text = (
                f"{spec.name} changed what `observe` sees, but declares no effect: name it, for example "
                f'@handler(effects="store"), so that handlers that share it keep their order'
            )
            if text not in self.complaints and spec.effects is not None:
                self.complaints.append(text)
        changed = [name for name, state in after[1].items() if before[1].get(name, state) != state]
        for name in changed:
            text = (
                f"{spec.name} changed {name!r}, which is outside of the context: branches and runs share it, and "
                "its value may depend on their order"
            )
            if text not in self.notes:
                self.notes.append(text)


def _reachable(function: Callable[..., Any]) -> dict[str, str]:
    """A fingerprint of each plain mutable value among a function's globals and the variables around it."""
    try:
        found = inspect.getclosurevars(inspect.unwrap(function))
    except TypeError:
        return {}
    states: dict[str, str] = {}
    for name, value in {**found.globals, **found.nonlocals}.items():
        if isinstance(value, _PLAIN):
            try:
                states[name] = fingerprint(value)
            except OrchestrationError:
                continue
    return states
