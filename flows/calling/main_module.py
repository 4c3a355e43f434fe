"""Import the main module in workers only when a call needs it; `multiprocessing` would always import it.

The main module of a deployed flow run is Prefect, that of a command the whole command line: seconds of start-up and a
hundred megabytes per worker. A worker imports it with the first call whose pickle refers to it.
"""

import os
import runpy
import sys
import threading
import types
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

MAIN = b"__main__"
"""The marker of the main module in a pickle that refers to it."""
_IN_WORKER = "__mp_main__"
"""The name of the main module in workers, as in `multiprocessing`: code below `if __name__ == "__main__"` does not run.
"""
_lock = threading.Lock()


@dataclass(frozen=True)
class MainModule:
    """Where the main module of a process comes from: the name of a module (`python -m`), or the path of a file."""

    name: str | None = None
    path: str | None = None

    def bring_here(self) -> None:
        """Make it the main module of this process too, unless that has been done."""
        brought = sys.modules["__main__"].__name__ == _IN_WORKER
        if brought or (self.name is None and self.path is None):
            return
        made = types.ModuleType(_IN_WORKER)
        sys.modules[_IN_WORKER] = made
        content = (
            runpy.run_module(self.name, run_name=_IN_WORKER, alter_sys=True)
            if self.name is not None
            else runpy.run_path(str(self.path), run_name=_IN_WORKER)
        )
        made.__dict__.update(content)
        sys.modules["__main__"] = sys.modules[_IN_WORKER] = made


def main_module() -> MainModule:
    """The main module of this process; None in an interactive prompt or with `python -c`."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    path = getattr(main, "__file__", None)
    if name is not None:
        # For a package run by `python -m`, the main module is its `__main__`, which must not be imported again.
        return MainModule() if name.rpartition(".")[2] == "__main__" else MainModule(name=name)
    return MainModule(path=os.path.abspath(path)) if path is not None else MainModule()


@contextmanager
def main_left_out() -> Generator[None]:
    """Hide the main module inside this block, so that processes started there do not import it."""
    with _lock:
        main = sys.modules["__main__"]
        kept = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
        try:
            vars(main)["__spec__"] = None
            vars(main).pop("__file__", None)
            yield
        finally:
            vars(main).update(kept)
