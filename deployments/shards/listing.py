"""The listing of a sharded ingestion, made once for all shards, with the documents' names in the index."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.author import Call
from flows.state import DiskSequence
from handlers.ingestion import DocumentNames
from handlers.records import SourceFile
from handlers.sources import canonical_place, list_sources
from handlers.stores import IndexStore

_OPTIONS = ("pattern", "exclude", "tags")
_PAGE = 1000
MOST_BYTES = 50_000_000
"""The largest document, as in the pipeline `ingest`."""


@dataclass(frozen=True)
class SourceListing:
    """The source of a sharded ingestion, and the number of objects that each rule leaves out."""

    uri: str
    pattern: str
    left_out: Mapping[str, int]


def list_documents(values: Mapping[str, Any], call: Call) -> Sequence[SourceFile]:
    """The files to ingest for these parameters, with the names of their documents; other renames are applied
    immediately.
    """
    options = {name: values[name] for name in _OPTIONS if values.get(name) is not None}
    files = list_sources(values["source"], **options, max_document_bytes=MOST_BYTES, call=call)
    store: IndexStore = call.services["index_store"]
    names = DocumentNames(store.sources(), files, store)
    after = ""
    while page := store.document_places(after=after, limit=_PAGE):
        after = page[-1].id
        chosen = names.of(page)
        if changed := {each.id: chosen[each.id] for each in page if chosen[each.id] != each.name}:
            store.name_documents(changed)
    return DiskSequence(names.rename(files))


def read_listing(values: Mapping[str, Any], store: IndexStore) -> SourceListing:
    """The source in these parameters, as registered in the index."""
    uri, pattern = canonical_place(values["source"]), values.get("pattern") or "**/*"
    counts = Counter[str]()
    offset = 0
    while page := store.left_out(uri, pattern, limit=_PAGE, offset=offset):
        counts.update(each.rule for each in page)
        offset += len(page)
    return SourceListing(uri, pattern, counts)
