"""Derives a handler from the signature of its function (reads, options, write), and refuses unsuitable callables."""

import dis
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Literal, Never, NoReturn, cast

from pydantic import ConfigDict, create_model

from flows.author.call import Call
from flows.author.registry import HandlerSpec, ReadParameter
from flows.author.results import FatalFailure, Success, TransientFailure
from flows.errors import InvalidHandler
from flows.state import Context

_AS_FUNCTION = "write a function at module level, and pass objects that outlive a call as services"


def check_function(function: Any) -> None:
    """Refuse a callable that cannot be a handler, when it is declared.

    Raises:
        InvalidHandler: it is not a plain function; the message has the cure.
    """
    trouble = _why_not_a_handler(function)
    if trouble:
        raise InvalidHandler(trouble)


def _why_not_a_handler(function: Any) -> str:
    name = str(getattr(function, "__qualname__", function)).rpartition("<locals>.")[2]
    if isinstance(function, type):
        return f"the class {name!r} cannot be a handler; {_AS_FUNCTION}"
    if isinstance(function, functools.partial):
        return (
            f"a partial of {getattr(function.func, '__qualname__', function.func)!r} cannot be a handler; write a "
            "function with keyword-only parameters, and set them in the step: options={…}"
        )
    if isinstance(function, (staticmethod, classmethod)) or inspect.ismethod(function) or _is_in_class(function):
        return f"the method {name!r} cannot be a handler; {_AS_FUNCTION}"
    if not callable(function) or not hasattr(function, "__name__"):
        return f"{name} ({type(function).__name__}) is not a function and cannot be a handler; {_AS_FUNCTION}"
    if not hasattr(function, "__dict__"):
        return f"{name} ({type(function).__name__}) is not a Python function and cannot be a handler; {_AS_FUNCTION}"
    if function.__name__ == "<lambda>":
        return "a lambda cannot be a handler: it has no name by which a step could call it; write it with def"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return f"the generator {name!r} cannot be a handler: no context can hold a generator; return a list instead"
    return ""


def _is_in_class(function: Any) -> bool:
    """Whether a function is a method, which would need an instance or the class as its first argument."""
    within = getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
    if "." not in within or not inspect.isfunction(function):
        return False
    return next(iter(inspect.signature(function).parameters), "") in ("self", "cls")


def describe(function: Callable[..., Any], declared: Mapping[str, Any]) -> HandlerSpec:
    """The handler of a function; declarations in `@handler(…)` take precedence over the signature.

    Raises:
        InvalidHandler: the signature cannot be understood.
    """
    label: str = declared.get("name") or function.__name__
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise InvalidHandler(
            f"handler {label!r}: its annotations name {error.name!r}, which is not known when the module is "
            "imported; import or define it at module level, outside of `if TYPE_CHECKING`"
        ) from error
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_context = bool(positional) and hints.get(positional[0].name) is Context
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        raise InvalidHandler(f"handler {label!r} takes *args or **kwargs; name its reads and options one by one")
    if takes_context and len(positional) > 1:
        raise InvalidHandler(
            f"handler {label!r} takes a Context and more positional parameters; make them keyword-only"
        )
    call_parameter = next((p.name for p in parameters if hints.get(p.name) is Call), None)
    options: dict[str, Any] = {
        p.name: (hints.get(p.name, Any), ... if p.default is p.empty else p.default)
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.name != call_parameter
    }
    model = create_model(
        f"{label}_options", __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **options
    )
    if takes_context:
        given_reads = declared.get("reads")
        reads = None if given_reads is None else tuple(ReadParameter(read, True, Any) for read in given_reads)
    else:
        reads = tuple(ReadParameter(p.name, p.default is p.empty, hints.get(p.name, Any)) for p in positional)
    writes, effects = declared.get("writes"), _as_tuple(declared.get("effects"))
    names, optional_write = _as_tuple(writes), False
    if names is None and not takes_context:
        result = _result_kind(function, hints)
        names, optional_write = (label,) if result != "nothing" else (), result == "unknown"
    elif names is None and effects is not None:
        names = ()
    if effects is None and writes:  # a handler that declares writes has no other effects unless it declares them
        effects = ()
    return HandlerSpec(
        name=label,
        function=function,
        reads=reads,
        writes=names,
        effects=effects,
        reducers=dict(cast("Mapping[str, str]", writes)) if isinstance(writes, Mapping) else {},
        options=model,
        takes_context=takes_context,
        call_parameter=call_parameter,
        is_async=inspect.iscoroutinefunction(function),
        summary=(inspect.getdoc(function) or "").split("\n", 1)[0],
        returns=hints.get("return", Any),
        uses=_as_tuple(declared.get("uses")) or (),
        needs=_as_tuple(declared.get("needs")) or (),
        optional_write=optional_write,
        **{key: declared[key] for key in _UNCHANGED & declared.keys()},
    )


_UNCHANGED = frozenset(
    "version isolation classify undo quality price declares stages publishes override".split(),
)
"""Declarations that a `HandlerSpec` has as they are."""


def _as_tuple(given: Any) -> tuple[str, ...] | None:
    return (given,) if isinstance(given, str) else None if given is None else tuple(given)


def _result_kind(function: Callable[..., Any], hints: Mapping[str, Any]) -> Literal["value", "nothing", "unknown"]:
    """Whether a function returns a value, as far as its annotations and its code show."""
    if "return" not in hints:
        return "nothing" if _has_no_return(function) else "unknown"
    union = typing.get_origin(hints["return"]) in (typing.Union, types.UnionType)
    kinds: list[Any] = list(typing.get_args(hints["return"])) if union else [hints["return"]]
    if all(kind in (type(None), NoReturn, Never, TransientFailure, FatalFailure) for kind in kinds):
        return "nothing"
    return "unknown" if any(kind in (Any, object, Success) for kind in kinds) else "value"


def _has_no_return(function: Callable[..., Any]) -> bool:
    """Whether the code of a function can return nothing but None."""
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    for before, step in pairwise(dis.get_instructions(code)):
        if step.opname == "RETURN_CONST" and step.argval is not None:
            return False
        none = before.opname == "LOAD_CONST" and before.argval is None and not step.is_jump_target
        if step.opname == "RETURN_VALUE" and not none:
            return False
    return True
