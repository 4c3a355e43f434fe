"""Handlers by name: all that is known of each, and the table in which pipelines find them."""

import importlib
import importlib.metadata
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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
    """All that Braid knows of a handler.

    `reads` and `writes` are None for a handler that takes a Context and declares none, `effects` where nothing is
    declared. Such a handler keeps its place in `mode: dag`.
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
    """Whether None is not written: nothing says before the call whether the function returns something."""
    declares: StepDeclarer | None = None
    """Takes the options of a step and returns the step's declaration, when the step is planned."""


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
        if known is not None and not _same_definition(known.function, spec.function):
            raise DuplicateName(
                f"two handlers are named {spec.name!r}: {_qualified_name(known.function)} and "
                f"{_qualified_name(spec.function)}; "
                "give one another name with @handler(name=…)"
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


def load_modules(names: Iterable[str]) -> None:
    """Import modules, and every module inside packages, so that the handlers in them are registered."""
    for name in names:
        module = importlib.import_module(name)
        for found in pkgutil.walk_packages(getattr(module, "__path__", ()), prefix=f"{name}."):
            importlib.import_module(found.name)


def load_entry_points() -> None:
    """Import the handlers of installed distributions."""
    for entry_point in importlib.metadata.entry_points(group="braid.handlers"):
        entry_point.load()


def _qualified_name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _same_definition(first: Callable[..., Any], second: Callable[..., Any]) -> bool:
    """Whether two functions are one that was defined again: a module was reloaded, or its file imported twice."""
    if first.__qualname__ != second.__qualname__:
        return False
    # Prefect imports the file of a script again, under another name.
    return first.__module__ == second.__module__ or _module_file(first) == _module_file(second) != ""


def _module_file(function: Callable[..., Any]) -> str:
    return getattr(sys.modules.get(function.__module__), "__file__", None) or ""
