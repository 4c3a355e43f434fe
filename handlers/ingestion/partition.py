"""`partition_text`: documents into passages that follow their structure, each small enough to embed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flows.author import Call, handler
from flows.errors import FatalError
from handlers.aside import name_of, one_by_one, remaining
from handlers.extraction import heading_text
from handlers.ingestion.splitting import Count, Span, bounded, split_at_sentences, split_lines, split_prose, tail
from handlers.records import Block, Chunk, Document, stable_id

By = Literal["tokens", "sentences"]
_LONGEST_NAME = 200


@handler(writes="chunks", effects=(), version="4")
def partition_text(
    documents: Sequence[Document],
    *,
    max_tokens: int = 220,
    overlap_tokens: int = 30,
    by: By = "tokens",
    call: Call,
) -> tuple[Chunk, ...]:
    """Passages of at most `max_tokens` tokens of the embedding model, in the order of the documents and their text.

    A passage ends where a section ends; very short sections are joined with the next. A heading stays with the first
    text below it. Tables and code stay whole if they fit, else they are cut between lines. Inside a section, a passage
    starts with up to `overlap_tokens` tokens of the prose before it. `by="sentences"` never cuts a sentence that fits;
    `by="tokens"` keeps paragraphs whole and cuts inside one only if necessary. Each part of a cut table begins with the
    names of its columns.

    A passage's id depends on its document, its headings and its text alone, so an edit changes only the ids of passages
    it touches. A document that cannot be cut is set aside.
    """
    if max_tokens < 8:
        raise FatalError(f"max_tokens is {max_tokens}; a passage needs at least 8")
    if not 0 <= overlap_tokens <= max_tokens // 2:
        raise FatalError(
            f"overlap_tokens is {overlap_tokens}; it must be between 0 and half of max_tokens ({max_tokens})"
        )
    from handlers.models import count_tokens

    def cut(document: Document) -> list[Chunk]:
        return partition_document(document, count_tokens, max_tokens=max_tokens, overlap_tokens=overlap_tokens, by=by)

    left = remaining(documents, call)
    done = one_by_one(cut, left, name_of, call, doing="cutting it into passages")
    return tuple(chunk for chunks in done for chunk in chunks)


def partition_document(
    document: Document, count: Count, *, max_tokens: int = 220, overlap_tokens: int = 30, by: By = "tokens"
) -> list[Chunk]:
    """The passages of one document; `count` returns the number of tokens of a text."""
    text, size = document.text, bounded(count, max_tokens)
    units = _units(document, size, max_tokens=max_tokens, overlap_tokens=overlap_tokens, by=by)
    chunks: list[Chunk] = []
    seen: Counter[tuple[str, str]] = Counter()
    for passage in _passages(text, units, size, max_tokens=max_tokens, overlap_tokens=overlap_tokens):
        content, heading = text[passage.start : passage.end], " > ".join(passage.path)
        chunks.append(
            Chunk(
                id=chunk_id(document.id, heading, content, seen[heading, content]),
                document_id=document.id,
                position=len(chunks),
                text=content,
                start=passage.start,
                end=passage.end,
                heading=heading,
                page=passage.page,
                tokens=count(content),
            )
        )
        seen[heading, content] += 1
    return chunks


def chunk_id(document_id: str, heading: str, text: str, before: int) -> str:
    """The id of a passage, by its headings and text; `before` counts the earlier passages with the same ones."""
    return stable_id(document_id, heading, text, str(before))


@dataclass(frozen=True)
class _Unit:
    """A block or a part of one that is not cut further; headings are joined to the first unit below them."""

    start: int
    end: int
    path: tuple[str, ...]
    page: int | None
    prose: bool
    opens_section: int = 0
    """The level of the highest heading that the unit starts with."""


def _units(document: Document, count: Count, *, max_tokens: int, overlap_tokens: int, by: By) -> list[_Unit]:
    text = document.text
    units: list[_Unit] = []
    path: list[tuple[int, str]] = []
    opening: list[_Unit] = []
    for block in document.blocks or (Block("paragraph", 0, len(text)),):
        if block.kind == "heading":
            level = block.level or 1
            path = [*((above, name) for above, name in path if above < level), (level, _name(text, block))]
            names = tuple(name for _, name in path)
            opening.append(_Unit(block.start, block.end, names, block.page, False, level))
            continue
        names = tuple(name for _, name in path)
        ahead = count(text[opening[0].start : block.start]) if opening else 0
        reserved = max(ahead + 1 if opening else 0, overlap_tokens if block.kind in ("paragraph", "list") else 0)
        budget = max_tokens - reserved if reserved < max_tokens // 2 else max_tokens // 2
        parts = [
            _Unit(start, end, names, block.page, block.kind in ("paragraph", "list", "caption"))
            for start, end in _split(text, block, count, max_tokens=max_tokens, budget=budget, ahead=ahead, by=by)
        ]
        if not parts:
            continue
        units.extend(_join_headings(text, opening, parts[0], count, max_tokens))
        columns = _columns(text, block) if block.kind == "table" else ""
        units.extend(replace(part, path=(*names, columns)) if columns else part for part in parts[1:])
        opening = []
    for unit in opening:  # headings at the very end, with no text below them
        units.extend(
            replace(unit, start=s, end=e) for s, e in split_prose(text, Span(unit.start, unit.end), max_tokens, count)
        )
    return units


def _name(text: str, block: Block) -> str:
    # Use the last line with letters or digits: the heading of a function begins with the comments above it.
    lines = [line for line in text[block.start : block.end].split("\n") if any(map(str.isalnum, line))]
    return heading_text(lines[-1])[:_LONGEST_NAME] if lines else ""


def _columns(text: str, block: Block) -> str:
    """The column names in the first row of a table, which are repeated in its later passages."""
    cells = text[block.start : block.end].partition("\n")[0].strip().strip("|").split(" | ")
    return " | ".join(filter(None, map(str.strip, cells)))[:_LONGEST_NAME]


def _split(text: str, block: Block, count: Count, *, max_tokens: int, budget: int, ahead: int, by: By) -> list[Span]:
    span = Span(block.start, block.end)
    if block.kind in ("table", "code"):
        whole = count(text[span.start : span.end]) + ahead <= max_tokens
        return [span] if whole else split_lines(text, span, budget, count)
    if by == "sentences":
        return split_at_sentences(text, span, budget, count)
    if count(text[span.start : span.end]) + ahead <= max_tokens:
        return [span]
    split = split_lines if block.kind == "list" else split_prose
    return split(text, span, budget, count)


def _join_headings(text: str, opening: list[_Unit], first: _Unit, count: Count, max_tokens: int) -> list[_Unit]:
    """The first unit of a section, preceded by its headings; if not all fit, the outermost become separate units."""
    alone: list[_Unit] = []
    while opening and count(text[opening[0].start : first.end]) > max_tokens:
        heading, *opening = opening
        spans = split_prose(text, Span(heading.start, heading.end), max_tokens, count)
        alone.extend(replace(heading, start=start, end=end) for start, end in spans)
    if opening:
        first = replace(first, start=opening[0].start, opens_section=min(unit.opens_section for unit in opening))
    return [*alone, first]


def _passages(text: str, units: Sequence[_Unit], count: Count, *, max_tokens: int, overlap_tokens: int) -> list[_Unit]:
    """Units joined to passages, greedily."""
    passages: list[_Unit] = []
    last: _Unit | None = None  # the unit that the current passage ends with
    for unit in units:
        if last is not None:
            current = passages[-1]
            joined = replace(current, end=unit.end)
            if (
                _may_join(text, current, unit, count, max_tokens)
                and count(text[joined.start : joined.end]) <= max_tokens
            ):
                passages[-1], last = joined, unit
                continue
        start = unit.start
        if last is not None and last.prose and not unit.opens_section:
            start = tail(text, Span(passages[-1].start, last.end), overlap_tokens, count)
            if start == last.end or count(text[start : unit.end]) > max_tokens:
                start = unit.start
        passages.append(replace(unit, start=start))
        last = unit
    return passages


def _may_join(text: str, passage: _Unit, unit: _Unit, count: Count, max_tokens: int) -> bool:
    if not unit.opens_section:
        return True
    # At a new section, only a very short previous section is joined, and only within the same enclosing section.
    inside = len(unit.path) >= len(passage.path) and unit.path[: len(passage.path) - 1] == passage.path[:-1]
    return inside and count(text[passage.start : passage.end]) < max_tokens // 4
