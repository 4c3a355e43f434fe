"""Sequences whose items are on disk, so that a context can hold more items than fit into memory."""

import pickle
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar, cast, overload

from flows.state.values import ExternalSequence, own

Item = TypeVar("Item")
_PAGE_ITEMS = 100
_BUFFER_BYTES = 100_000
_CACHE_KIB = 512


class DiskSequence(ExternalSequence[Item]):
    """A sequence on disk, made by a `Spool`; equal to any list, tuple or other disk sequence of equal items.

    The items are in a file without a name, which disappears with the last reference, also if the process is killed.
    Pickling includes the items, compressed, so that the pickle remains valid when the file is gone. Safe under threads.
    Every access makes a new object, so changing it affects no other reader.
    """

    def __init__(self, items: "Iterable[Item] | Spool[Item]" = ()) -> None:
        if not isinstance(items, Spool):
            spool = Spool[Item]()
            spool.extend(items)
        else:
            spool = items
        self._rows, self._length = spool.rows()

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            if step != 1:
                return tuple(self[each] for each in range(start, stop, step))
            return tuple(islice(self._items_from(start), max(0, stop - start)))
        start = index + self._length if index < 0 else index
        if not 0 <= start < self._length:
            raise IndexError(f"{index} in a sequence of {self._length}")
        return next(self._items_from(start, page=1))

    def __iter__(self) -> Iterator[Item]:
        return self._items_from(0)

    def _items_from(self, start: int, page: int = _PAGE_ITEMS) -> Iterator[Item]:
        for content in self._packed_items(start, page):
            yield pickle.loads(content)

    def _packed_items(self, start: int = 0, page: int = _PAGE_ITEMS) -> Iterator[bytes]:
        # Page by page, so that the lock is free while the caller uses an item.
        while start < self._length:
            rows = self._rows.ask("SELECT item FROM items WHERE rowid > ? ORDER BY rowid LIMIT ?", (start, page))
            yield from (cast("bytes", content) for (content,) in rows)
            start += len(rows)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, (DiskSequence, tuple, list)):
            return NotImplemented
        theirs = cast("Sequence[object]", other)
        return len(self) == len(theirs) and all(mine == their for mine, their in zip(self, theirs, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]  (it may equal a list, which has no hash)

    def __repr__(self) -> str:
        return f"<{self._length} items on disk>"

    def __reduce__(self) -> tuple[Callable[[bytes], "DiskSequence[Any]"], tuple[bytes]]:
        packer = zlib.compressobj(1)
        parts: list[bytes] = []
        for content in self._packed_items():
            parts += [packer.compress(len(content).to_bytes(8, "big")), packer.compress(content)]
        return _unpack, (b"".join([*parts, packer.flush()]),)


def _unpack(packed: bytes) -> DiskSequence[Any]:
    """The pickled items in a new file."""
    unpacker, rest = zlib.decompressobj(), packed
    held = bytearray()

    def take(size: int) -> bytes:
        nonlocal rest
        while len(held) < size:
            got = unpacker.decompress(rest, 65_536)
            rest = unpacker.unconsumed_tail
            if not got:
                break
            held.extend(got)
        taken = bytes(held[:size])
        del held[:size]
        return taken

    spool = Spool[Any]()
    while head := take(8):
        spool.add_content(take(int.from_bytes(head, "big")))
    return DiskSequence(spool)


class Spool(Generic[Item]):
    """Collects items one by one for a `DiskSequence`, in the order in which they are added or sorted by `key`.

    Keys are sorted as Python sorts texts; items with equal keys keep their order.
    """

    def __init__(self, key: Callable[[Item], str] | None = None) -> None:
        self._rows, self._key = TemporaryRows(), key
        self._rows.ask(
            "CREATE TABLE items (item BLOB NOT NULL)"
            if key is None
            else "CREATE TABLE unsorted (key BLOB NOT NULL, item BLOB NOT NULL)"
        )
        self._waiting: list[tuple[bytes, ...]] = []
        self._waiting_bytes = self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, item: Item) -> None:
        """Add an item.

        Raises:
            UnsupportedValue: it is not data.
        """
        own(item, where="an item")
        content = pickle.dumps(item, protocol=5)
        self._put_row((content,) if self._key is None else (sortable(self._key(item)), content))

    def extend(self, items: Iterable[Item]) -> None:
        for item in items:
            self.add(item)

    def add_content(self, content: bytes) -> None:
        """Add an item that is pickled already."""
        self._put_row((content,))

    def finish(self) -> DiskSequence[Item]:
        """The sequence of all items; afterwards no item can be added."""
        return DiskSequence(self)

    def rows(self) -> "tuple[TemporaryRows, int]":
        """The finished table `items`, whose rows are counted from 1, and the number of rows."""
        self._write_rows()
        if self._key is not None:
            self._rows.ask("CREATE TABLE items (item BLOB NOT NULL)")
            self._rows.ask("INSERT INTO items SELECT item FROM unsorted ORDER BY key, rowid")
            self._rows.ask("DROP TABLE unsorted")
        return self._rows, self._length

    def _put_row(self, row: tuple[bytes, ...]) -> None:
        self._waiting.append(row)
        self._waiting_bytes += len(row[-1])
        self._length += 1
        if self._waiting_bytes >= _BUFFER_BYTES:
            self._write_rows()

    def _write_rows(self) -> None:
        table, marks = ("items", "?") if self._key is None else ("unsorted", "?, ?")
        self._rows.tell(f"INSERT INTO {table} VALUES ({marks})", self._waiting)
        self._waiting, self._waiting_bytes = [], 0


class TemporaryRows:
    """A private SQLite database in a file without a name, which disappears with the last reference to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        # The data need not survive a crash, so syncing is off.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}", "temp_store = FILE"):
            self._connection.execute(f"PRAGMA {pragma}")

    def ask(self, statement: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Run a statement and return all rows in memory, so limit their number."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def tell(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once per row, in one transaction."""
        with self._lock:
            self._connection.execute("BEGIN")
            self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self._connection.close()


def sortable(text: str) -> bytes:
    """The text as bytes that sort as Python sorts texts."""
    return text.encode("utf-8", "surrogatepass")
