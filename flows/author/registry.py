"""The table of handlers by name, in which pipelines find them, and the specification of each handler."""

import importlib
import inspect
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from flows.author.prices import PriceOf
from flows.errors import DuplicateName, UnknownHandler

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
    """Everything that Braid knows about a handler.

    `reads` and `writes` are None for a handler that takes a Context and does not declare them; `effects` is None if not
    declared. Such a handler keeps its position in `mode: dag`.
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
    optional_write: bool = False
    """Whether a returned None is ignored, because the signature leaves open whether the function returns a value."""
    declares: StepDeclarer | None = None
    """Takes the options of a step and returns the step's declaration, when the step is planned."""
    override: bool = False
    """Whether it replaces the handler of that name without `override`."""
    needs: tuple[str, ...] = ()
    """Services that must have content before the run starts."""


@dataclass
class Registry:
    """Handlers by name. Offered modules are imported when one of their handlers is first looked up."""

    _known: dict[str, HandlerSpec] = field(default_factory=dict[str, HandlerSpec])
    _offered: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """Modules that are not imported yet, by the names of their handlers."""
    _clashes: list[tuple[HandlerSpec, HandlerSpec]] | None = field(default=None, repr=False)

    def add(self, spec: HandlerSpec) -> None:
        """Register a handler; a function that is registered again (its module was reloaded) replaces itself.

        A handler with `override` takes the place of one without, whichever is registered first.

        Raises:
            DuplicateName: another function has the name.
        """
        if self._offered.get(spec.name, spec.function.__module__) != spec.function.__module__:
            self._load(spec.name)
        known = self._known.get(spec.name)
        if known is None or _same_definition(known.function, spec.function) or (spec.override and not known.override):
            self._known[spec.name] = spec
        elif spec.override or not known.override:
            if self._clashes is None:
                raise DuplicateName(_clash_text([(known, spec)]))
            self._clashes.append((known, spec))

    @contextmanager
    def collecting_clashes(self) -> Generator[None]:
        """Collect duplicate names inside the block, and report all of them when it ends.

        Raises:
            DuplicateName: several handlers have the same name.
        """
        if self._clashes is not None:
            yield
            return
        clashes: list[tuple[HandlerSpec, HandlerSpec]] = []
        self._clashes = clashes
        try:
            yield
        finally:
            self._clashes = None
        if clashes:
            raise DuplicateName(_clash_text(clashes))

    def get(self, name: str, *, where: str = "") -> HandlerSpec:
        """The handler of that name.

        Raises:
            UnknownHandler: there is none; the message suggests the nearest name.
        """
        found = self.find(name)
        if found is None:
            raise UnknownHandler("handler", name, [*{**self._offered, **self._known}], where=where)
        return found

    def find(self, name: str) -> HandlerSpec | None:
        """The handler of that name; None if there is none."""
        self._load(name)
        return self._known.get(name)

    @property
    def handlers(self) -> dict[str, HandlerSpec]:
        """All handlers by name; every module that was offered is imported."""
        for name in list(self._offered):
            self._load(name)
        return self._known

    def offer(self, modules: Mapping[str, str]) -> None:
        """Register handler names together with the modules that define them, without importing the modules."""
        self._offered.update({name: module for name, module in modules.items() if name not in self._known})

    def _load(self, name: str) -> None:
        module = self._offered.get(name)
        if module is not None:
            importlib.import_module(module)
            self._offered.pop(name, None)


REGISTRY = Registry()


def _clash_text(clashes: Sequence[tuple[HandlerSpec, HandlerSpec]]) -> str:
    cure = "rename one with @handler(name=…), or replace the other one with @handler(override=True)"
    texts = [f"{second.name!r}: {_origin(first)} and {_origin(second)}" for first, second in clashes]
    if len(texts) == 1:
        return f"two handlers are named {texts[0]}; {cure}"
    return "\n".join([f"{len(texts)} names are used by two handlers each; {cure}", *texts])


def _origin(spec: HandlerSpec) -> str:
    function = spec.function
    code = getattr(inspect.unwrap(function), "__code__", None)
    place = f" ({Path(code.co_filename).name}:{code.co_firstlineno})" if code is not None else ""
    return f"{function.__module__}.{function.__qualname__}{place}"


def _same_definition(first: Callable[..., Any], second: Callable[..., Any]) -> bool:
    """Whether two functions are one that was defined again: a module was reloaded, or its file imported twice."""
    if first.__qualname__ != second.__qualname__:
        return False
    # Prefect imports the file of a script again, under another name.
    return first.__module__ == second.__module__ or _module_file(first) == _module_file(second) != ""


def _module_file(function: Callable[..., Any]) -> str:
    return getattr(sys.modules.get(function.__module__), "__file__", None) or ""
