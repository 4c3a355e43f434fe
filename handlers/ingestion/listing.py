"""A listing compared with an index, in tables on disk: known files, new files, and documents that are gone."""

import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from flows.state import TemporaryRows, chunked, sortable
from handlers.records import SourceFile
from handlers.stores import DocumentState

_PAGE = 500


class Listing:
    """Listed sources by document id, and documents of the index that are not among them."""

    def __init__(self, sources: Iterable[SourceFile]) -> None:
        self._rows = TemporaryRows()
        self._rows.ask("CREATE TABLE listed (id BLOB PRIMARY KEY, name BLOB, source BLOB, met INTEGER)")
        self._rows.ask("CREATE TABLE left_out (uri BLOB PRIMARY KEY)")
        self._rows.ask("CREATE TABLE superseded (id BLOB PRIMARY KEY)")
        self._rows.ask("CREATE TABLE gone (id BLOB, size TEXT, etag TEXT, content TEXT, state BLOB, moved INTEGER)")
        waiting: list[tuple[object, ...]] = []
        for source in sources:
            pickled = pickle.dumps(source, protocol=5)
            waiting.append((sortable(source.document_id), sortable(source.name), pickled))
            if len(waiting) == _PAGE:
                self._insert(waiting)
        self._insert(waiting)
        self._contents = False

    def _insert(self, waiting: list[tuple[object, ...]]) -> None:
        self._rows.tell("INSERT OR REPLACE INTO listed VALUES (?, ?, ?, 0)", waiting)
        waiting.clear()

    def meet(self, ids: Sequence[str]) -> dict[str, SourceFile]:
        """Return the listed sources of these documents by id, which then no longer count as new."""
        keys = [sortable(each) for each in ids]
        found = self._rows.ask(f"SELECT source FROM listed WHERE id IN ({_marks(keys)}) ORDER BY rowid", keys)
        self._rows.ask(f"UPDATE listed SET met = max(met, 1) WHERE id IN ({_marks(keys)})", keys)
        return {source.document_id: source for source in _unpickled(found)}

    def new(self) -> Iterator[SourceFile]:
        """The sources that `meet` has not returned, by name."""
        self._rows.ask("CREATE INDEX IF NOT EXISTS listed_name ON listed (name) WHERE NOT met")
        after, rowid = b"", 0
        while rows := self._rows.ask(
            "SELECT source, name, rowid FROM listed WHERE NOT met AND (name, rowid) > (?, ?) "
            "ORDER BY name, rowid LIMIT ?",
            (after, rowid, _PAGE),
        ):
            yield from _unpickled(rows)
            after, rowid = cast("bytes", rows[-1][1]), cast("int", rows[-1][2])

    def leave_out(self, uris: Iterable[str]) -> None:
        """Record the canonical URIs of objects that exist but are left out; those of folders end with a slash."""
        for some in chunked(uris, _PAGE):
            self._rows.tell("INSERT OR IGNORE INTO left_out VALUES (?)", [(sortable(uri),) for uri in some])

    def is_left_out(self, uri: str) -> bool:
        """Whether a file, or a folder that contains it, exists and was left out."""
        parts = uri.split("/")
        places = [uri, *("/".join(parts[:depth]) + "/" for depth in range(3, len(parts)))]
        keys = [sortable(each) for each in places]
        return bool(self._rows.ask(f"SELECT 1 FROM left_out WHERE uri IN ({_marks(keys)}) LIMIT 1", keys))

    def adopt(self, document_id: str) -> bool:
        """Record that a document of an earlier release has a listed file; return whether it is the first one."""
        key = sortable(document_id)
        first = bool(self._rows.ask("SELECT 1 FROM listed WHERE id = ? AND met < 2", (key,)))
        self._rows.ask("UPDATE listed SET met = 2 WHERE id = ?", (key,))
        return first

    def supersede(self, document_id: str) -> None:
        """Record a document of the index that is removed in any case."""
        self._rows.ask("INSERT OR IGNORE INTO superseded VALUES (?)", (sortable(document_id),))

    def miss(self, states: Sequence[DocumentState]) -> None:
        """Record documents of the index that are not listed."""
        rows: list[tuple[object, ...]] = []
        for state in states:
            size, _, rest = state.revision.lstrip("~").partition(":")
            rows.append(
                (
                    sortable(state.id),
                    size,
                    rest.partition(":")[0],
                    state.content_sha256,
                    pickle.dumps(state, protocol=5),
                )
            )
        self._rows.tell("INSERT INTO gone VALUES (?, ?, ?, ?, ?, 0)", rows)

    def may_be_moved(self, source: SourceFile) -> bool:
        """Whether a document that is gone had the size and ETag of this source."""
        self._index_contents()
        same, values = "content != '' AND NOT moved AND size = ?", [str(source.size)]
        if source.etag is not None:
            same, values = f"{same} AND etag = ?", [*values, source.etag]
        return bool(self._rows.ask(f"SELECT 1 FROM gone WHERE {same} LIMIT 1", values))

    def take_moved(self, content_sha256: str) -> DocumentState | None:
        """A gone document that had this content; it then counts as moved instead of vanished."""
        found = self._rows.ask(
            "SELECT rowid, state FROM gone WHERE content = ? AND content != '' AND NOT moved ORDER BY id LIMIT 1",
            (content_sha256,),
        )
        for rowid, state in found:
            self._rows.ask("UPDATE gone SET moved = 1 WHERE rowid = ?", (rowid,))
            return pickle.loads(cast("bytes", state))
        return None

    def to_remove(self, *, vanished: bool) -> Iterator[str]:
        """The ids of documents to remove in any case, and with `vanished` also of those that are gone and have not
        moved.
        """
        which = "SELECT id FROM superseded"
        if vanished:
            which += " UNION SELECT id FROM gone WHERE NOT moved"
        after = b""
        while rows := self._rows.ask(f"SELECT id FROM ({which}) WHERE id > ? ORDER BY id LIMIT ?", (after, _PAGE)):
            yield from (cast("bytes", key).decode("utf-8", "surrogatepass") for (key,) in rows)
            after = cast("bytes", rows[-1][0])

    def _index_contents(self) -> None:
        if not self._contents:
            self._rows.ask("CREATE INDEX gone_size ON gone (size)")
            self._rows.ask("CREATE INDEX gone_content ON gone (content)")
            self._rows.ask("CREATE INDEX gone_id ON gone (id)")
            self._contents = True


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _unpickled(rows: Iterable[tuple[object, ...]]) -> Iterator[SourceFile]:
    for row in rows:
        yield pickle.loads(cast("bytes", row[0]))
