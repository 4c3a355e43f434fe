"""The documents of an index that exist for a caller: pages, counts and details."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from deployments.screen import DocumentEntry, DocumentTable
from deployments.service.access import Caller
from deployments.service.answers import IndexInfo
from deployments.service.warm import WarmIndexes
from flows.errors import AmbiguousName, UnknownName

if TYPE_CHECKING:
    from handlers.stores import DocumentRow

_PAGE = 1000
_FIRST_PAGE = 16
"""A small page, because every question checks whether the caller has any visible document."""


@dataclass(frozen=True)
class PermittedDocuments:
    """A document table limited by the tags of a caller; it returns only `described` and the entries of a page."""

    table: DocumentTable
    caller: Caller

    @classmethod
    @contextmanager
    def opened(cls, warm: WarmIndexes, index: str, caller: Caller) -> "Generator[PermittedDocuments]":
        """The documents of an index.

        Raises:
            UnknownName: it does not exist, or has no visible document; the caller must not learn which.
        """
        with ExitStack() as stack:
            try:
                services = stack.enter_context(warm.services(index))
                found = cls(DocumentTable(index, services["index_store"], warm.runs), caller)
                if not caller.sees_everything and next(found._rows(), None) is None:
                    raise UnknownName("index", index, ())
            except UnknownName:
                if caller.sees_everything:
                    raise
                raise UnknownName("index", index, ()) from None  # without suggestions, which could reveal another index
            yield found

    def page(self, *, status: str | None = None, limit: int = 50, offset: int = 0) -> list[DocumentEntry]:
        """`limit` documents by name, after the first `offset`."""
        if self.caller.sees_everything:
            return self.table.page(status=status, limit=limit, offset=offset)
        rows = list(islice((row for row in self._rows() if status in (None, row.status)), offset, offset + limit))
        return self.table.find([row.id for row in rows])

    def counts(self) -> dict[str, int]:
        """The number of documents by status, and of those that can be searched."""
        if self.caller.sees_everything:
            return self.table.counts()
        counted = {"processed": 0, "failed": 0, "pending": 0, "searchable": 0}
        for row in self._rows():
            counted[row.status] += 1
            counted["searchable"] += row.searchable
        return counted

    def summary(self) -> IndexInfo:
        """The numbers of the index, counting only visible documents."""
        rows = list(self._rows())
        return IndexInfo(
            index=self.table.index,
            documents=sum(row.searchable for row in rows),
            passages=sum(row.chunks for row in rows),
            failed=sum(row.status == "failed" for row in rows),
            updated=max((row.updated_at for row in rows), default=None),
            bytes=self.table.store.size_bytes() if self.caller.sees_everything else None,
        )

    def described(self, document: str) -> dict[str, Any]:
        """Everything in the index about a document, by its id, URI or name.

        Raises:
            AmbiguousName: several documents fit; the message lists them.
            UnknownName: there is no such visible document; the message suggests the nearest visible one.
        """
        found = self._permitted(self.table.store.lookup(document, limit=_PAGE))
        if not self.caller.sees_everything:
            # Ends of names are searched only if no whole name fits, which would reveal an excluded document.
            found = [row for row in found if document in (row.id, row.name, row.uri)]
        if not found:
            raise UnknownName("document", document, [row.name for row in islice(self._rows(), 10_000)])
        if len(found) > 1:
            raise AmbiguousName("document", document, [row.name for row in found])
        return self.table.described(found[0].id)

    def tags(self, document_ids: Sequence[str]) -> dict[str, tuple[tuple[str, str], ...]]:
        """The tags of documents, by id."""
        where = self.caller.where
        known = self.table.store.tags_of(dict.fromkeys(document_ids))
        return {id_: tags for id_, tags in known.items() if where is None or where.matches(tags)}

    def first_tags(self, most: int = _PAGE) -> dict[str, tuple[tuple[str, str], ...]]:
        """The tags of the first documents by name, by id."""
        return self.tags([row.id for row in islice(self._rows(), most)])

    def _rows(self) -> "Iterator[DocumentRow]":
        offset, limit = 0, _FIRST_PAGE
        while rows := self.table.store.documents(limit=limit, offset=offset):
            yield from self._permitted(rows)
            offset, limit = offset + len(rows), min(limit * 4, _PAGE)

    def _permitted(self, rows: "Sequence[DocumentRow]") -> "list[DocumentRow]":
        where = self.caller.where
        if where is None:
            return list(rows)
        # Tags belong to the searchable version; a document without one has no tags and is invisible to callers with
        # tags.
        tags = self.table.store.tags_of([row.id for row in rows])
        return [row for row in rows if row.id in tags and where.matches(tags[row.id])]
