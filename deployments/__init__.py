"""Braid wired and shipped: settings, catalog, pipelines and the command line, in these rooms.

- `commands`: the command line, one module per command;
- `running`: the same from Python, `from deployments import run`;
- `server`: the Prefect server: deployments, their schedules and flows, checks;
- `shards`: one ingestion in several deployment runs;
- `runs`: one run in this process, from its request to its record;
- `screen`: everything that is shown in a terminal.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployments.running import arun, run

__all__ = ["arun", "run"]


def __getattr__(name: str) -> Any:
    """`run` and `arun`, imported when they are asked for: most importers of this package need other rooms."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("deployments.running"), name)
