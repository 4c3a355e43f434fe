"""Rows of a database: each row of a query's result is a document."""

from collections.abc import Callable, Iterator
from typing import Any

from flows.errors import StorageUnusable
from handlers.data import BadQuery, read_rows
from handlers.records import Fetched
from handlers.sources.in_hand import InHand, Shape
from handlers.sources.protocol import Page, Tools, UnusableOption
from handlers.sources.registry import source_kind


@source_kind("rows", "rows")
class Rows:
    """`rows://CONNECTION/NAME`: what `query` reads from a connection of `BRAID_CONNECTIONS`, under a name of your own.

    `key` is the column that identifies a row, `changed` a column that changes whenever the row changes (a time or a
    version); without it, the whole row is compared. `title` and `text` are columns, `tags` maps tags to columns.
    """

    def __init__(
        self,
        place: str,
        *,
        query: str,
        key: str,
        changed: str | None = None,
        title: str | None = None,
        text: str | None = None,
        tags: dict[str, str] | None = None,
        tools: Tools,
    ) -> None:
        self.root = place.rstrip("/")
        connection, _, name = self.root.partition("://")[2].partition("/")
        if not connection or not name or tools.connections is None:
            raise UnusableOption(f"{place}: write rows://CONNECTION/NAME, with a connection of BRAID_CONNECTIONS")
        self._query, self._connection, self._connections = query, connection, tools.connections
        self._shape = Shape(key, changed, title, text, tags)
        self._in_hand = InHand(self.root, self._items)

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        return self._in_hand.pages(wanted)

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        return self._in_hand.fetch(uri, max_bytes=max_bytes)

    def _items(self) -> Iterator[list[Any]]:
        try:
            for page in read_rows(self._connections, self._connection, self._query, key=self._shape.key):
                yield [self._shape.item(row) for row in page]
        except BadQuery as error:
            raise StorageUnusable(f"{self.root}: {error}") from error
