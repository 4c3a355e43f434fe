"""Transactions on an index in SQL; the parts of the store build on them, and each of their methods is one."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from sqlalchemy import Connection


class Transactions(ABC):
    """How a kind of database begins and ends a transaction."""

    @abstractmethod
    def _read(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of the index throughout."""

    @abstractmethod
    def _write(self) -> AbstractContextManager[Connection]:
        """A transaction that is committed at the end, or undone by an error."""
