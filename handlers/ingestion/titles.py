"""The titles of documents, which are counted and embedded with each of their passages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from flows.author import Call
from handlers.records import Chunk, Document
from handlers.stores import IndexReader


@dataclass(frozen=True)
class Titles:
    """The titles by document id, and the titles `before` in the index."""

    by_document: dict[str, str] = field(default_factory=dict[str, str])
    before: dict[str, str] = field(default_factory=dict[str, str])

    def text_of(self, chunk: Chunk) -> str:
        """The title, headings and text of a chunk; a title that is also a heading appears once."""
        return _text(chunk, self.by_document.get(chunk.document_id, ""))

    def changed(self, chunks: Iterable[Chunk]) -> set[str]:
        """The ids of the chunks whose texts differ because of a new title."""
        return {
            each.id
            for each in chunks
            if each.document_id in self.before and self.text_of(each) != _text(each, self.before[each.document_id])
        }


def titles_of(chunks: Sequence[Chunk], documents: Sequence[Document], call: Call) -> Titles:
    """The titles of the chunks' documents, from the documents just read, else from the index. A title that is only the
    file name is ignored, since it changes when the file is moved.
    """
    read = {each.id: title_of(each.name, each.title) for each in documents}
    if "index_store" not in call.services:
        return Titles(read)
    store: IndexReader = call.services["index_store"]
    known = store.known(list(dict.fromkeys(chunk.document_id for chunk in chunks)))
    stored = {each: title_of(row.name, row.title) for each, row in known.items() if row.searchable}
    return Titles({**stored, **read}, stored)


def title_of(name: str, title: str) -> str:
    """The title of a document of that name, unless the title is only the name."""
    return "" if title == PurePosixPath(name).stem[:500] else title


def _text(chunk: Chunk, title: str) -> str:
    parts = [chunk.heading, chunk.text]
    if title and not _has(chunk.heading, title) and not _has(chunk.text[: len(title) + 20], title):
        parts.insert(0, title)
    return "\n".join(part for part in parts if part)


def _has(text: str, title: str) -> bool:
    return " ".join(title.casefold().split()) in " ".join(text.casefold().split())
