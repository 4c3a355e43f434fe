"""The names of documents: readable, unique within an index, and independent of the ingesting source.

The name of a document is its path below the outermost source that contains it. If two documents would have the same
name, both get the label of that source in front; if these names are equal too, both are named by their URIs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from flows.state import TemporaryRows, chunked, sortable
from flows.storage import canonical_uri
from handlers.records import SourceFile, document_id_of
from handlers.sources import Roots
from handlers.stores import DocumentPlace, IndexReader, SourceRecord

_PAGE = 1000


class DocumentNames:
    """The names that listed files and the documents of an index should have, in tables on disk."""

    def __init__(self, records: Iterable[SourceRecord], files: Iterable[SourceFile], store: IndexReader) -> None:
        self._roots = Roots(records)
        self._rows: TemporaryRows | None = None
        if len(self._roots) > 1 or any(self._roots.parts(canonical_uri(each.uri)) is None for each in _places(store)):
            self._rows = TemporaryRows()
            self._fill(files, store)

    def of(self, places: Sequence[DocumentPlace]) -> dict[str, str]:
        """The names of documents, by the ids in their places; a document of no source keeps its name."""
        if self._rows is None:
            parts = {each.id: self._roots.parts(canonical_uri(each.uri)) for each in places}
            return {each.id: found.path if (found := parts[each.id]) else each.name for each in places}
        ids = {each.id: _key(each) for each in places}
        keys = [sortable(key) for key in dict.fromkeys(ids.values())]
        marks = ", ".join("?" * len(keys))
        rows = self._rows.ask(f"SELECT id, name FROM names WHERE id IN ({marks})", keys)
        names = {_text(key): _text(name) for key, name in rows}
        return {each.id: names.get(ids[each.id], each.name) for each in places}

    def rename(self, files: Iterable[SourceFile]) -> Iterator[SourceFile]:
        """The files under the names of their documents."""
        for some in chunked(files):
            names = self.of([DocumentPlace(each.document_id, each.name, each.uri) for each in some])
            yield from (replace(each, name=names[each.document_id]) for each in some)

    def _fill(self, files: Iterable[SourceFile], store: IndexReader) -> None:
        assert self._rows is not None, "there is a table"
        self._rows.ask("CREATE TABLE names (id BLOB PRIMARY KEY, path BLOB, longer BLOB, uri BLOB, name BLOB)")
        waiting: list[tuple[object, ...]] = []
        for place in _all_places(files, store):
            uri = canonical_uri(place.uri)
            parts = self._roots.parts(uri)
            path, longer = (parts.path, parts.longer) if parts else (place.name, place.name)
            waiting.append(tuple(map(sortable, (_key(place), path, longer, uri or path))))
            if len(waiting) == _PAGE:
                self._insert(waiting)
        self._insert(waiting)
        self._settle("path", "longer")
        self._settle("name", "uri")

    def _insert(self, waiting: list[tuple[object, ...]]) -> None:
        assert self._rows is not None, "there is a table"
        self._rows.tell("INSERT OR IGNORE INTO names (id, path, longer, uri) VALUES (?, ?, ?, ?)", waiting)
        waiting.clear()

    def _settle(self, short: str, longer: str) -> None:
        """Name documents by one column if its value is unique, else by the other."""
        assert self._rows is not None, "there is a table"
        self._rows.ask(f"CREATE INDEX by_{short} ON names ({short})")
        self._rows.ask(f"CREATE TABLE equal AS SELECT {short} AS given FROM names GROUP BY {short} HAVING count(*) > 1")
        self._rows.ask("CREATE INDEX by_given ON equal (given)")
        self._rows.ask(
            f"UPDATE names SET name = CASE WHEN {short} IN (SELECT given FROM equal) THEN {longer} ELSE {short} END"
        )
        self._rows.ask("DROP TABLE equal")


def _key(place: DocumentPlace) -> str:
    """The id of the document by its URI; a document of an earlier release may not have it yet."""
    return document_id_of(place.uri) if place.uri else place.id


def _all_places(files: Iterable[SourceFile], store: IndexReader) -> Iterator[DocumentPlace]:
    for each in files:
        yield DocumentPlace(each.document_id, each.name, each.uri)
    yield from _places(store)


def _places(store: IndexReader) -> Iterator[DocumentPlace]:
    after = ""
    while page := store.document_places(after=after, limit=_PAGE):
        yield from page
        after = page[-1].id


def _text(value: object) -> str:
    return cast("bytes", value).decode("utf-8", "surrogatepass")
