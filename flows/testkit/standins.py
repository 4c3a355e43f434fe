"""Stand-ins for a pipeline's handlers, with the same declarations but without their work, for tests of pipelines."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flows.author import REGISTRY, HandlerSpec, Registry, handler
from flows.model import Pipeline, handler_names
from flows.state import Context, fingerprint


def stand_ins(
    *pipelines: Pipeline, registry: Registry | None = None, answers: Mapping[str, Any] | None = None
) -> Registry:
    """Handlers with the names and declarations of those in the pipelines, but with made-up results.

    A result is a list of two texts that depend on all reads and options of the handler, or the handler's value in
    `answers`. A handler that is not registered reads nothing and writes a field of its own name.
    """
    known = (registry or REGISTRY).handlers
    made = Registry()
    for pipeline in pipelines:
        for name in handler_names(pipeline.steps):
            if name not in made.handlers:
                real = known.get(name) or _unknown_handler(name)
                given = (answers or {}).get(name)
                made.handlers[name] = replace(
                    real,
                    function=_answering_function(real, given),
                    is_async=True,
                    isolation="thread",
                    call_parameter=None,
                    quality=None,
                    undo=None,
                )
    return made


def _unknown_handler(name: str) -> HandlerSpec:
    async def unknown() -> None: ...

    known = Registry()
    handler(unknown, name=name, writes=name, effects=(), registry=known)
    return known.get(name)


def _answering_function(real: HandlerSpec, answer: Any) -> Any:
    @functools.wraps(real.function)
    async def answered(*inputs: Any, **options: Any) -> Any:
        def value(write: str) -> Any:
            if answer is not None:
                return answer
            mark = fingerprint([real.name, write, seen, options])[:10]
            return [f"{write} 1 {mark}", f"{write} 2 {mark}"]

        seen = [one for one in inputs if not isinstance(one, Context)]
        writes = real.writes or ()
        if len(writes) == 1 and not real.takes_context:
            return value(writes[0])
        return {write: value(write) for write in writes}

    return answered
