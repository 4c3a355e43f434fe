"""Sequences whose items are on disk: a context holds them and steps go through them, without the memory for them."""

import pickle
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar, cast, overload

from flows.state.values import KeptElsewhere, own

Item = TypeVar("Item")
Other = TypeVar("Other")
_PAGE = 100
_BUFFER_BYTES = 100_000
_CACHE_KIB = 512


class Spilled(KeptElsewhere[Item]):
    """The items that a `Spool` was given; equal to any other sequence of equal items.

    They are in a file without a name: it goes with the last reference, also when the process is killed. Pickled, the
    items travel along, compressed: what a journal kept of a run is there when the file is gone. Safe under threads.
    An item is made anew each time it is asked for, so whatever is done to it stays with who asked.
    """

    def __init__(self, items: "Iterable[Item] | Spool[Item]" = ()) -> None:
        if not isinstance(items, Spool):
            spool = Spool[Item]()
            spool.extend(items)
        else:
            spool = items
        self._rows, self._length = spool.settle()

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, place: int | slice) -> Item | tuple[Item, ...]:
        if isinstance(place, slice):
            start, stop, step = place.indices(self._length)
            if step != 1:
                return tuple(self[position] for position in range(start, stop, step))
            return tuple(islice(self._from(start), max(0, stop - start)))
        position = place + self._length if place < 0 else place
        if not 0 <= position < self._length:
            raise IndexError(f"{place} in a sequence of {self._length}")
        return next(self._from(position, page=1))

    def __iter__(self) -> Iterator[Item]:
        return self._from(0)

    def _from(self, position: int, page: int = _PAGE) -> Iterator[Item]:
        for content in self._contents(position, page):
            yield pickle.loads(content)

    def _contents(self, position: int = 0, page: int = _PAGE) -> Iterator[bytes]:
        # Page by page: nobody holds the lock while an item is used.
        while position < self._length:
            rows = self._rows.ask("SELECT item FROM items WHERE rowid > ? ORDER BY rowid LIMIT ?", (position, page))
            yield from (cast("bytes", content) for (content,) in rows)
            position += len(rows)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, (Spilled, tuple, list)):
            return NotImplemented
        theirs = cast("Sequence[object]", other)
        return len(self) == len(theirs) and all(mine == their for mine, their in zip(self, theirs, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]  (as a list: equal to what has no hash)

    def __repr__(self) -> str:
        return f"<{self._length} items on disk>"

    def __reduce__(self) -> tuple[Callable[[bytes], "Spilled[Any]"], tuple[bytes]]:
        packer = zlib.compressobj(1)
        parts: list[bytes] = []
        for content in self._contents():
            parts += [packer.compress(len(content).to_bytes(8, "big")), packer.compress(content)]
        return _unpacked, (b"".join([*parts, packer.flush()]),)


def _unpacked(packed: bytes) -> Spilled[Any]:
    """What was pickled, in a new file."""
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
    return Spilled(spool)


class Spool(Generic[Item]):
    """Takes items one by one, and gives them back as a `Spilled` sequence: in their order, or sorted by `key`.

    Sorting is by text, as Python sorts text; equal keys stay in the order in which they came.
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
        """Take one more.

        Raises:
            UnsupportedValue: it is not data.
        """
        own(item, place="an item")
        content = pickle.dumps(item, protocol=5)
        self._put((content,) if self._key is None else (sortable(self._key(item)), content))

    def extend(self, items: Iterable[Item]) -> None:
        for item in items:
            self.add(item)

    def add_content(self, content: bytes) -> None:
        """Add an item as it was pickled."""
        self._put((content,))

    def spilled(self) -> Spilled[Item]:
        """All that was added; nothing can be added after."""
        return Spilled(self)

    def settle(self) -> "tuple[TemporaryRows, int]":
        """The table `items` with rows counted from 1, and their number."""
        self._write()
        if self._key is not None:
            self._rows.ask("CREATE TABLE items (item BLOB NOT NULL)")
            self._rows.ask("INSERT INTO items SELECT item FROM unsorted ORDER BY key, rowid")
            self._rows.ask("DROP TABLE unsorted")
        return self._rows, self._length

    def _put(self, row: tuple[bytes, ...]) -> None:
        self._waiting.append(row)
        self._waiting_bytes += len(row[-1])
        self._length += 1
        if self._waiting_bytes >= _BUFFER_BYTES:
            self._write()

    def _write(self) -> None:
        table, places = ("items", "?") if self._key is None else ("unsorted", "?, ?")
        self._rows.tell(f"INSERT INTO {table} VALUES ({places})", self._waiting)
        self._waiting, self._waiting_bytes = [], 0


class TemporaryRows:
    """A private SQLite database on disk without a name, which is gone when nobody holds it any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        # Nothing outlives a crash here, so nothing has to be safe from one.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}", "temp_store = FILE"):
            self._connection.execute(f"PRAGMA {pragma}")

    def ask(self, statement: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """All rows of an answer, so ask for few."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def tell(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """The same statement with the values of each row."""
        with self._lock:
            self._connection.execute("BEGIN")
            self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self._connection.close()


def sortable(text: str) -> bytes:
    """Bytes that sort as Python sorts the text."""
    return text.encode("utf-8", "surrogatepass")
