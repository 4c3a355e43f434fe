"""Braid wired and shipped: settings, catalog, pipelines and the command line, in these rooms.

- `commands`: the command line, one module per command;
- `running`: the same from Python, `from deployments import run`;
- `connection`: an index from Python, `from deployments import connect`, here or, by `remote`, on a running server;
- `nearby`: the running server of a home, which commands ask;
- `retrievers`: that index as a retriever of LangChain, LlamaIndex and Haystack;
- `service`: answers over HTTP, MCP and on a page;
- `server`: the Prefect server: deployments, their schedules and flows, checks;
- `shards`: one ingestion in several deployment runs;
- `runs`: one run in this process, from its request to its record;
- `screen`: everything that is shown in a terminal.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployments.connection import Connection, connect
    from deployments.running import arun, run

__all__ = ["Connection", "arun", "connect", "run"]
_FROM = {"Connection": "connection", "connect": "connection", "arun": "running", "run": "running"}


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, since most importers of this package need only its subpackages."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"deployments.{_FROM[name]}"), name)
