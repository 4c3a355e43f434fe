"""Names for shell completion: pipelines, runs and indexes; empty if the settings are invalid."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployments.settings import Settings

_MOST = 50


def complete_pipelines(incomplete: str) -> list[str]:
    """The pipelines of the catalog whose names begin with `incomplete`."""
    from deployments.catalog import load_catalog

    return _beginning(incomplete, lambda settings: load_catalog(settings).loaded)


def complete_runs(incomplete: str) -> list[str]:
    """The newest runs whose ids begin with `incomplete`."""
    from deployments.runs import open_run_store

    def newest(settings: "Settings") -> list[str]:
        with open_run_store(settings) as store:
            return [record.run_id for record in store.beginning_with(incomplete, limit=_MOST)]

    return _beginning(incomplete, newest)


def complete_indexes(incomplete: str) -> list[str]:
    """The indexes whose names begin with `incomplete`."""
    from deployments.indexes import index_names

    return _beginning(incomplete, lambda settings: index_names(settings) or ())


def _beginning(incomplete: str, names: "Callable[[Settings], Iterable[str]]") -> list[str]:
    # Imported here, since every command imports this module but few complete anything.
    from deployments.settings import load_settings

    try:
        return [name for name in names(load_settings()) if name.startswith(incomplete)]
    except Exception:  # a message would appear inside the command line that the user is typing
        return []
