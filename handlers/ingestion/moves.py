"""Computes new ids of chunks and artifacts for moved documents."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from flows.state import chunked
from handlers.extraction import artifact_ids, mime_type_of
from handlers.ingestion.facets import DOCUMENTS
from handlers.ingestion.partition import chunk_id
from handlers.records import Artifact, Chunk, SourceFile
from handlers.stores import DocumentState, IndexReader, Rename, StoredDocument, format_facets, parse_facets
from handlers.tags import encoding_in

_PAGE = 100


def renames_of(pairs: Sequence[tuple[DocumentState, SourceFile]], store: IndexReader) -> tuple[list[Rename], set[str]]:
    """The renames from stored documents to sources of the same content, in order.

    Also the new ids of the documents that must be processed again because a part depends on their name: a title taken
    from it, pictures stored under it, or the format; or because another encoding is declared. Their passages and
    vectors stay.
    """
    renames: list[Rename] = []
    again: set[str] = set()
    for page in chunked(pairs, _PAGE):
        stored = {each.document.id: each for each in store.read_documents([state.id for state, _ in page])}
        for state, source in page:
            rename, complete = _rename(stored[state.id], source)
            renames.append(rename)
            if not complete:
                again.add(source.document_id)
    return renames, again


def _rename(stored: StoredDocument, source: SourceFile) -> tuple[Rename, bool]:
    old, new = stored.document.id, source.document_id
    chunks, same_ids = _chunk_ids(stored.chunks, old, new)
    artifacts = dict(zip(artifact_ids(old, stored.artifacts), artifact_ids(new, stored.artifacts), strict=True))
    known = artifacts.keys() == {each.id for each in stored.artifacts} and not _pictures(stored.artifacts)
    title, stem = stored.document.title, PurePosixPath(stored.document.name).stem[:500]
    new_stem = PurePosixPath(source.name).stem[:500]
    named = title == stem != new_stem  # by its name, or by a heading with the same words
    plain = stored.document.mime_type == "text/plain" and not any(each.heading for each in stored.chunks)
    same_reader = mime_type_of(source.name) == stored.document.mime_type
    same_reader &= encoding_in(source.tags) == encoding_in(stored.document.tags)
    complete = known and same_ids and (plain or not named) and same_reader
    document = replace(
        stored.document,
        id=new,
        name=source.name,
        uri=source.uri,
        tags=source.tags,
        title=new_stem if named else title,
    )
    facets = parse_facets(stored.fingerprint)
    return Rename(
        old,
        document,
        chunks,
        artifacts if known else {},
        source.revision,
        None if complete else format_facets({name: made for name, made in facets.items() if name != DOCUMENTS}),
    ), complete


def _chunk_ids(chunks: Sequence[Chunk], old: str, new: str) -> tuple[dict[str, str], bool]:
    """New ids by old ones, and whether the old ids are those that the current release would give."""
    found: dict[str, str] = {}
    same = True
    seen: Counter[tuple[str, str]] = Counter()
    for each in sorted(chunks, key=lambda chunk: chunk.position):
        content = (each.heading, each.text)
        before, after = (chunk_id(document, *content, seen[content]) for document in (old, new))
        same &= before == each.id
        found[each.id] = after if before == each.id else chunk_id(new, each.id, each.text, seen[content])
        seen[content] += 1
    return found, same


def _pictures(artifacts: Sequence[Artifact]) -> bool:
    return any(each.kind == "image" for each in artifacts)
