"""`extract_code_blocks` and `merge_extractions`: the blocks of code in documents, and all artifacts in one list."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import dedent

from flows.author import Call, handler
from handlers.aside import remaining
from handlers.extraction.artifacts import FoundArtifact, collect
from handlers.extraction.registry import is_data
from handlers.records import Artifact, Document

_FENCED = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^\s`{]*)[^\n]*\n(.*?)(?:\n?[ \t]*\1[`~]*)?\s*\Z", re.DOTALL)


@handler(writes="code_blocks", effects=())
def extract_code_blocks(documents: Sequence[Document], *, call: Call) -> tuple[Artifact, ...]:
    """The blocks of code in all documents, without fences and indent, with their language if it is declared."""
    return collect(documents, "code", _code_blocks, call)


@handler(writes="artifacts", effects=())
def merge_extractions(
    tables: Sequence[Artifact] = (),
    images: Sequence[Artifact] = (),
    code_blocks: Sequence[Artifact] = (),
    documents: Sequence[Document] = (),
    *,
    call: Call,
) -> tuple[Artifact, ...]:
    """All artifacts without duplicates: per document first tables, then images, then code.

    They end with the recognised words (OCR) of each page of `documents`, with their confidence.
    """
    words = collect(remaining(documents, call), "words", _words, call)
    order: dict[str, dict[str, Artifact]] = {}
    for artifact in (*tables, *images, *code_blocks, *words):
        order.setdefault(artifact.document_id, {}).setdefault(artifact.id, artifact)
    return tuple(artifact for of_document in order.values() for artifact in of_document.values())


def _words(document: Document) -> Iterator[FoundArtifact]:
    for page, words in groupby(document.words, key=lambda word: word.page):
        found = [[word.start, word.end, word.confidence] for word in words]
        yield FoundArtifact(json.dumps(found, separators=(",", ":")), page=page)


def _code_blocks(document: Document) -> Iterator[FoundArtifact]:
    if is_data(document.mime_type):
        return  # a JSON file or a program is not a block of code inside a document
    for block in document.blocks:
        if block.kind != "code":
            continue
        text = document.text[block.start : block.end]
        fenced = _FENCED.match(text)
        code = dedent(fenced[3] if fenced else text).strip("\n")
        if code.strip():
            yield FoundArtifact(code, page=block.page, language=(fenced[2].lower() if fenced else "") or None)
