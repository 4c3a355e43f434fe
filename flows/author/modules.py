"""Imports the modules that hold handlers, and reports their errors with the place in the author's own file."""

import importlib
import importlib.metadata
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from flows.author.registry import REGISTRY
from flows.errors import OrchestrationError

_PACKAGES = Path(__file__).resolve().parents[2]
_OURS = tuple(str(_PACKAGES / name) for name in ("flows", "deployments"))
_LIBRARIES = tuple({str(Path(module.__file__ or "").parent) for module in (importlib, traceback)})


class UnusableModule(OrchestrationError, ImportError):
    """A module of handlers cannot be imported; the message has the place in the author's file and the reason."""


def load_modules(names: Iterable[str]) -> None:
    """Import modules, and every module inside packages, so that the handlers in them are registered.

    Raises:
        DuplicateName: handlers have names that are taken; the message has all of them.
        UnusableModule: modules cannot be imported; the message has a line for each.
    """
    wrong: list[str] = []
    with REGISTRY.collecting_clashes():
        for name in names:
            _attempt(name, lambda name=name: importlib.import_module(name), wrong)
            path = getattr(sys.modules.get(name), "__path__", ())
            # A package inside that cannot be imported is reported when its turn comes.
            for found in pkgutil.walk_packages(path, prefix=f"{name}.", onerror=lambda _: None):
                _attempt(found.name, lambda name=found.name: importlib.import_module(name), wrong)
        if wrong:
            raise UnusableModule("\n".join(dict.fromkeys(wrong)))


def load_entry_points(group: str = "braid.handlers") -> None:
    """Import the handlers of installed distributions.

    Raises:
        DuplicateName: handlers have names that are taken; the message has all of them.
        UnusableModule: entry points cannot be loaded; the message has a line for each.
    """
    wrong: list[str] = []
    with REGISTRY.collecting_clashes():
        for entry_point in importlib.metadata.entry_points(group=group):
            _attempt(f"{entry_point.value} of the entry point {entry_point.name!r}", entry_point.load, wrong)
        if wrong:
            raise UnusableModule("\n".join(dict.fromkeys(wrong)))


def _attempt(name: str, load: Callable[[], object], wrong: list[str]) -> None:
    """Call `load`; an error of the module becomes a line in `wrong`."""
    try:
        load()
    except (Exception, SystemExit) as error:
        place = _place(error)
        reason = _reason(error)
        wrong.append(f"{place}: {reason}" if place else f"the module {name} cannot be imported: {reason}")


def _place(error: BaseException) -> str:
    """`file:line` of the innermost frame in a file that is neither ours nor a library's; '' if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}"
    places = [f"{_shown(file)}:{line}" for file, line in _frames(error.__traceback__) if _is_authors(file)]
    return places[-1] if places else ""


def _frames(at: TracebackType | None) -> Iterable[tuple[str, int]]:
    return ((frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(at))


def _is_authors(file: str) -> bool:
    if file.startswith("<") or "site-packages" in file or "dist-packages" in file:
        return False
    return not str(Path(file).resolve()).startswith((*_OURS, *_LIBRARIES))


def _shown(file: str) -> str:
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file


def _reason(error: BaseException) -> str:
    if isinstance(error, OrchestrationError):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    if isinstance(error, SystemExit):
        return f"the module ends the process with sys.exit({error.code!r})"
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
