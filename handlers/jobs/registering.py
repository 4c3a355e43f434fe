"""`@job`: registers plain functions that stages call by name, with the payload as arguments."""

import inspect
import string
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from flows.author import Call, handler
from flows.errors import FatalError
from handlers.jobs.keys import claim

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def job(function: Function, /, *, name: str | None = None, key: str | None = None, **declared: Any) -> Function: ...


@overload
def job(
    function: None = None, /, *, name: str | None = None, key: str | None = None, **declared: Any
) -> Callable[[Function], Function]: ...


def job(function: Any = None, /, *, name: str | None = None, key: str | None = None, **declared: Any) -> Any:
    """Register a function as a job, whose result goes to the field that has the job's name.

    `key` is its idempotency key, in which `{argument}` stands for an argument: two jobs of a run with the same key are
    refused, and so is a job whose key another run holds. A step's option `idempotency_key` replaces it. `declared` are
    further arguments of `@handler` (`effects`, `version`, `uses`, `undo`, …). A parameter annotated `Call` receives the
    call.

    Raises:
        TypeError: `key` names something that is not an argument, or the function takes `*args`.
    """

    def register(function: Function) -> Function:
        chosen = name or function.__name__
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())
        asks = next((one.name for one in parameters if hints.get(one.name) is Call), None)
        payload = [one for one in parameters if one.name != asks]
        unknown = sorted(_names(key) - {one.name for one in payload})
        if unknown:
            raise TypeError(f"job {chosen!r}: its key names {unknown[0]!r}, which is not an argument of it")

        def prepare(options: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
            call, own = options.pop("call"), options.pop("idempotency_key")
            found = own or (_fill(chosen, key, options) if key is not None else None)
            return found, {**options, **({asks: call} if asks is not None else {})}

        async def run_async(**options: Any) -> Any:
            call: Call = options["call"]
            found, arguments = prepare(options)
            with claim(found, call):
                return await function(**arguments)

        def run(**options: Any) -> Any:
            call: Call = options["call"]
            found, arguments = prepare(options)
            with claim(found, call):
                return function(**arguments)

        wrapper: Any = run_async if inspect.iscoroutinefunction(function) else run
        extra = [
            inspect.Parameter("idempotency_key", inspect.Parameter.KEYWORD_ONLY, default=None),
            inspect.Parameter("call", inspect.Parameter.KEYWORD_ONLY),
        ]
        keyword = [one if one.kind in _STARS else one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in payload]
        wrapper.__signature__ = inspect.Signature([*keyword, *extra])
        wrapper.__annotations__ = {**hints, "idempotency_key": str | None, "call": Call}
        wrapper.__name__, wrapper.__doc__ = chosen, function.__doc__
        wrapper.__module__, wrapper.__qualname__ = function.__module__, f"{function.__qualname__}.job"
        handler(wrapper, name=chosen, writes=chosen, **declared)
        return function

    return register(function) if function is not None else register


_STARS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _names(key: str | None) -> set[str]:
    fields = string.Formatter().parse(key or "")
    return {name for _, name, _, _ in fields if name is not None}


def _fill(job: str, key: str, arguments: Mapping[str, Any]) -> str:
    """The key with its arguments filled in; without one of them, different jobs would have one key."""
    empty = sorted(name for name in _names(key) if arguments.get(name) in (None, ""))
    if empty:
        raise FatalError(f"{job}: its idempotency key {key!r} needs {empty[0]!r}, which is empty")
    return key.format_map({name: arguments[name] for name in _names(key)})
