"""`@handler`: how a plain function becomes a handler."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from flows.author.prices import PriceOf
from flows.author.registry import REGISTRY, Classify, HandlerSpec, Registry, StepDeclarer
from flows.author.signatures import check_function, describe
from flows.errors import InvalidHandler, suggest

Function = TypeVar("Function", bound=Callable[..., Any])


class Declarations(TypedDict, total=False):
    """Everything that `@handler(…)` can declare."""

    name: str
    """The name under which pipelines find the handler; default: the function's."""
    writes: str | Iterable[str] | Mapping[str, str] | None
    """The fields that receive the result; a mapping from field to reducer also sets how writes of several branches
    combine.

    One field receives the result itself; several receive the values of a mapping. Default: a field named like the
    handler, if the function returns something. `()` drops the result.
    """
    reads: Iterable[str] | None
    """For a handler that takes a `Context`: the only fields that it may read."""
    effects: str | Iterable[str] | None
    """The things outside the context that the handler changes, for example a store.

    Handlers that share an effect keep their order in `mode: dag`, and so does every handler that declares neither
    writes nor effects.
    """
    version: str
    """Increase it when the meaning of the result changes, so that later runs do not reuse old results."""
    isolation: Literal["thread", "process"]
    """`process` runs the handler in a process of its own, which is killed at a timeout."""
    classify: Classify | None
    """Classifies the handler's own exceptions as transient or fatal; if it returns None, the common rules apply."""
    undo: Callable[..., Any] | None
    """Undoes the effects of a call; called with the handler's reads and its result."""
    quality: Callable[[Any], float] | None
    """Returns the quality of a result as a number, for the merge strategy `best_quality`."""
    uses: str | Iterable[str]
    """Resources whose limits every call respects, besides those that its step `uses`."""
    declares: StepDeclarer | None
    """For a handler that takes a `Context`: a function from a step's options to the reads, writes and effects of the
    step. If it raises an error of ours, the plan refuses the step.
    """
    price: PriceOf | None
    """Turns the units of one `call.report_cost` into money: a number of usd, or a mapping from currency to amount."""
    stages: bool
    """The outside effects of the handler are temporary until a later step that `publishes` has succeeded. After the
    end of the run they may be removed; a resumed run then makes them again.
    """
    publishes: bool
    override: bool
    """Replaces the handler of the same name without `override`, for example one of Braid's own."""
    needs: str | Iterable[str]
    """Services that must have content before the run starts. A run on a missing index is refused if a step needs
    `index_store` and no step writes to the index."""
    registry: Registry | None
    """Where the handler is registered; default: the table that all pipelines use."""


@overload
def handler(function: Function, /, **declared: Unpack[Declarations]) -> Function: ...


@overload
def handler(function: None = None, /, **declared: Unpack[Declarations]) -> Callable[[Function], Function]: ...


def handler(function: Any = None, /, **declared: Unpack[Declarations]) -> Any:
    """Make a function a handler; use it bare (`@handler`) or with declarations (`@handler(writes="chunks")`).

    Positional parameters are reads (optional where they have a default), keyword-only ones are options, a
    keyword-only parameter annotated `Call` receives the call, and the return value is the write. A function whose
    first parameter is annotated `Context` gets the branch's context instead; its `reads` and `writes` are enforced
    where they are given. The function itself stays as it is and can be called as before.

    Raises:
        DuplicateName: another handler has the name.
        InvalidHandler: it is no plain function (a class, method, lambda, generator, …), its signature cannot be
            understood (for example `*args`), or there is no such declaration.
    """
    _check_names(declared)
    if isinstance(function, str):
        raise InvalidHandler(
            f"@handler({function!r}) takes a function; to name the handler, write @handler(name={function!r})"
        )

    def register(function: Function) -> Function:
        check_function(function)
        spec = describe(function, declared)
        (declared.get("registry") or REGISTRY).add(spec)
        function.__braid__ = spec  # pyright: ignore[reportFunctionMemberAccess]  (how `spec_of` finds it again)
        return function

    return register(function) if function is not None else register


def _check_names(declared: Mapping[str, Any]) -> None:
    known = list(Declarations.__annotations__)
    for name in declared:
        if name not in known:
            raise InvalidHandler(f"@handler has no option {name!r}{suggest(name, known, most=len(known))}")
    if declared.get("isolation", "thread") not in ("thread", "process"):
        raise InvalidHandler(f"@handler(isolation={declared['isolation']!r}): write 'thread' or 'process'")


def spec_of(function: Callable[..., Any]) -> HandlerSpec | None:
    """The specification that `@handler` made of a function; None if the function is not a handler."""
    found = getattr(function, "__braid__", None)
    return found if isinstance(found, HandlerSpec) else None
