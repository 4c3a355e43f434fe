"""Open the run store of the settings, with the key that signs its results."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployments.settings import Settings

if TYPE_CHECKING:
    from flows.run_store import RunStore


def make_run_store(settings: Settings) -> "RunStore":
    """The run store; the caller closes it."""
    from flows.run_store import KEY_FILE, RunStore, SigningKey  # SQLAlchemy takes a while to import

    secret = settings.run_store_key.get_secret_value() if settings.run_store_key else None
    key = SigningKey(secret) if secret else SigningKey(file=settings.home.absolute() / KEY_FILE)
    return RunStore(settings.run_store_url, key=key)


@contextmanager
def open_run_store(settings: Settings) -> "Iterator[RunStore]":
    """The run store, closed at the end."""
    store = make_run_store(settings)
    try:
        yield store
    finally:
        store.close()
