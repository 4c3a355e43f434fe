"""`@handler`: what a function reads, writes and takes as options, and the table from which pipelines name it."""

import importlib
import importlib.metadata
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, cast

from pydantic import BaseModel, ConfigDict, create_model

from flows.author.call import Call
from flows.author.prices import PriceOf
from flows.errors import DuplicateName, UnknownHandler
from flows.state import Context

Function = TypeVar("Function", bound=Callable[..., Any])
Classify: TypeAlias = Callable[[BaseException], Literal["transient", "fatal"] | None]


@dataclass(frozen=True)
class ReadParameter:
    """A positional parameter of a handler: the field that it is read from, and whether the field is required."""

    name: str
    required: bool
    annotation: Any


@dataclass(frozen=True)
class StepDeclaration:
    """The reads, writes and effects of one step, for a handler whose declarations depend on the step's options.

    `timeout_s` and `max_attempts` hold if the step declares none. `version` stands for everything that the result
    depends on besides handler and options, for example the content of a file that the options name.
    """

    reads: tuple[ReadParameter, ...] = ()
    writes: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    timeout_s: float | None = None
    max_attempts: int | None = None
    version: str = ""


StepDeclarer: TypeAlias = Callable[[Mapping[str, Any]], StepDeclaration]


@dataclass(frozen=True)
class HandlerSpec:
    """All that Braid knows of a handler.

    `writes` and `effects` are `None` where nothing is declared; such a handler keeps its place in `mode: dag`.
    """

    name: str
    function: Callable[..., Any]
    reads: tuple[ReadParameter, ...] | None
    writes: tuple[str, ...] | None
    effects: tuple[str, ...] | None
    reducers: Mapping[str, str]
    options: type[BaseModel]
    version: str = "1"
    takes_context: bool = False
    call_parameter: str | None = None
    is_async: bool = False
    isolation: Literal["thread", "process"] = "thread"
    classify: Classify | None = None
    undo: Callable[..., Any] | None = None
    quality: Callable[[Any], float] | None = None
    price: PriceOf | None = None
    uses: tuple[str, ...] = ()
    """Resources that every call uses, besides those of its step."""
    summary: str = ""
    returns: Any = None
    stages: bool = False
    """Whether its effects are temporary until a step that `publishes` makes them permanent."""
    publishes: bool = False
    declares: StepDeclarer | None = None
    """Takes the options of a step and returns the step's declaration, when the step is planned."""

    @property
    def declared(self) -> bool:
        """Whether reads, writes and effects are all known, so that `mode: dag` may move it."""
        return self.reads is not None and self.writes is not None and self.effects is not None


@dataclass
class Registry:
    """Handlers by name."""

    handlers: dict[str, HandlerSpec] = field(default_factory=dict[str, HandlerSpec])

    def add(self, spec: HandlerSpec) -> None:
        """Register a handler; a function that is registered again (its module was reloaded) replaces itself.

        Raises:
            DuplicateName: another function has the name.
        """
        known = self.handlers.get(spec.name)
        if known is not None and _origin(known.function) != _origin(spec.function):
            raise DuplicateName(
                f"two handlers are named {spec.name!r}: {'.'.join(_origin(known.function))} and "
                f"{'.'.join(_origin(spec.function))}; give one another name with @handler(name=…)"
            )
        self.handlers[spec.name] = spec

    def get(self, name: str, *, where: str = "") -> HandlerSpec:
        """The handler of that name.

        Raises:
            UnknownHandler: there is none; the message suggests the nearest name.
        """
        if name not in self.handlers:
            raise UnknownHandler("handler", name, self.handlers, where=where)
        return self.handlers[name]


REGISTRY = Registry()


def handler(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    writes: str | Iterable[str] | Mapping[str, str] | None = None,
    reads: Iterable[str] | None = None,
    effects: str | Iterable[str] | None = None,
    version: str = "1",
    isolation: Literal["thread", "process"] = "thread",
    classify: Classify | None = None,
    undo: Callable[..., Any] | None = None,
    quality: Callable[[Any], float] | None = None,
    uses: str | Iterable[str] = (),
    declares: StepDeclarer | None = None,
    price: PriceOf | None = None,
    stages: bool = False,
    publishes: bool = False,
    registry: Registry | None = None,
) -> Any:
    """Make a function a handler; use it bare (`@handler`) or with declarations (`@handler(writes="chunks")`).

    Positional parameters are reads (optional where they have a default), keyword-only ones are options, a
    keyword-only parameter annotated `Call` receives the call, and the return value is the write: the value itself for
    one declared write, a mapping from write to value for several. A function whose first parameter is annotated
    `Context` gets the branch's context instead; its `reads` and `writes` are enforced where they are given.

    `writes` may map a field to the reducer that combines several branches' writes to it. `effects` names what the
    handler changes outside the context (for example a store); handlers that share an effect keep their order in
    `mode: dag`, and so does every handler that declares neither writes nor effects. `undo` takes the handler's
    reads and its result. `quality` scores the result for `best_quality`. `uses` names resources whose limits every
    call respects, besides those that its step `uses`. `price` turns the units of one
    `call.report_cost` into money: a number of usd, or a mapping from currency to amount. `declares`, for a handler
    that takes a Context, gives the reads, writes and effects of a step from the step's options; whatever error of
    ours it raises refuses the step when it is planned. What a handler that `stages` leaves outside may be tidied away
    once its run is dead, unless a later step that `publishes` has succeeded: without that, a resumed run does it again.

    Raises:
        DuplicateName: another handler has the name.
        TypeError: the signature cannot be understood (for example `*args`).
    """

    def register(function: Function) -> Function:
        spec = _describe(
            function,
            name=name,
            writes=writes,
            reads=reads,
            effects=effects,
            version=version,
            isolation=isolation,
            classify=classify,
            undo=undo,
            quality=quality,
            price=price,
            declares=declares,
            stages=stages,
            publishes=publishes,
            uses=(uses,) if isinstance(uses, str) else tuple(uses),
        )
        (registry or REGISTRY).add(spec)
        function.__braid__ = spec  # pyright: ignore[reportFunctionMemberAccess]  (how `describe` finds it again)
        return function

    return register(function) if function is not None else register


def _describe(
    function: Callable[..., Any],
    *,
    name: str | None,
    writes: str | Iterable[str] | Mapping[str, str] | None,
    reads: Iterable[str] | None,
    effects: str | Iterable[str] | None,
    **rest: Any,
) -> HandlerSpec:
    label = name or function.__name__
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_context = bool(positional) and hints.get(positional[0].name) is Context
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        raise TypeError(f"handler {label!r} takes *args or **kwargs; name its reads and options one by one")
    if takes_context and len(positional) > 1:
        raise TypeError(f"handler {label!r} takes a Context and more positional parameters; make them keyword-only")
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
        declared_reads = None if reads is None else tuple(ReadParameter(read, True, Any) for read in reads)
    else:
        declared_reads = tuple(ReadParameter(p.name, p.default is p.empty, hints.get(p.name, Any)) for p in positional)
    names = (writes,) if isinstance(writes, str) else (tuple(writes) if writes is not None else None)
    outside = (effects,) if isinstance(effects, str) else (tuple(effects) if effects is not None else None)
    return HandlerSpec(
        name=label,
        function=function,
        reads=declared_reads,
        writes=names if names is not None or outside is None else (),
        effects=outside if outside is not None or not names else (),
        reducers=dict(cast("Mapping[str, str]", writes)) if isinstance(writes, Mapping) else {},
        options=model,
        takes_context=takes_context,
        call_parameter=call_parameter,
        is_async=inspect.iscoroutinefunction(function),
        summary=(inspect.getdoc(function) or "").split("\n", 1)[0],
        returns=hints.get("return", Any),
        **rest,
    )


def load_modules(names: Iterable[str]) -> None:
    """Import modules, and every module inside packages, so that the handlers in them are registered."""
    for name in names:
        module = importlib.import_module(name)
        for found in pkgutil.walk_packages(getattr(module, "__path__", ()), prefix=f"{name}."):
            importlib.import_module(found.name)


def load_entry_points(group: str = "braid.handlers") -> None:
    """Import the handlers of installed distributions."""
    for entry_point in importlib.metadata.entry_points(group=group):
        entry_point.load()


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
    return (function.__module__, function.__qualname__)
