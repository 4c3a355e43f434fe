"""Open the run store of the settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployments.settings import Settings

if TYPE_CHECKING:
    from flows.run_store import RunStore


@contextmanager
def open_run_store(settings: Settings) -> "Iterator[RunStore]":
    """The run store, closed at the end."""
    from flows.run_store import RunStore  # SQLAlchemy takes a while to import

    store = RunStore(settings.run_store_url)
    try:
        yield store
    finally:
        store.close()
