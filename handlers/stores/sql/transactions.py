"""Transactions on an index in SQL; each method of the store's parts is one transaction."""

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection

from handlers.stores.pinning import pinned_version
from handlers.stores.sql.views import look


class Transactions(ABC):
    """Begins and ends transactions in one kind of database; each transaction works on one version of the index."""

    @abstractmethod
    def _begin_read(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of the index throughout."""

    @abstractmethod
    def _begin_write(self) -> AbstractContextManager[Connection]:
        """A transaction that is committed at the end, or undone by an error."""

    @contextmanager
    def _read(self) -> Generator[Connection]:
        with self._begin_read() as connection:
            look(connection, pinned_version(self))
            yield connection

    @contextmanager
    def _write(self) -> Generator[Connection]:
        with self._begin_write() as connection:
            look(connection, pinned_version(self), writing=True)
            yield connection
