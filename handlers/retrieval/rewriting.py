"""Rewrites a question in the words of the index: finds its entities, and expands its acronyms."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from flows.author import Call, handler
from handlers.retrieval.understanding import Question
from handlers.stores import IndexSearch
from handlers.tags import TagFilter
from handlers.text import STOP_WORDS, terms

LONGEST_NAME = 8
"""The most words of an entity that is searched for in a question."""

_WORD = re.compile(r"\S+")
_ACRONYM = re.compile(r"[A-Z][A-Z0-9]{1,7}")


@handler(writes="queries")
def query_rewrite(
    query: str,
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    question: Question | None = None,
    *,
    most: int = 4,
    call: Call,
) -> list[str]:
    """The cleaned question, and versions with acronyms expanded by the graph; at most `most` in total.

    A name explains an acronym when a permitted document relates the two and its initials spell the acronym.
    """
    cleaned = " ".join(unicodedata.normalize("NFKC", question.text if question else query).split())
    store: IndexSearch = call.services["index_store"]
    where = TagFilter.all_of(access, filters, question.filters if question else None)
    queries = [cleaned]
    for acronym in named_entities(store, cleaned, where=where):
        if not _ACRONYM.fullmatch(acronym):
            continue
        for edge in store.neighbours([acronym], where=where):
            meaning = edge.end if edge.start == acronym else edge.start
            if _spells(meaning, acronym):
                queries.append(_written_out(cleaned, acronym, meaning))
    return list(dict.fromkeys(queries))[:most]


@handler(writes="query_entities", needs="index_store")
def extract_entities_from_query(
    query: str,
    queries: Sequence[str] = (),
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    question: Question | None = None,
    *,
    call: Call,
) -> list[str]:
    """The entities that the question or its rewritings name and permitted documents know, as the index spells them."""
    store: IndexSearch = call.services["index_store"]
    where = TagFilter.all_of(access, filters, question.filters if question else None)
    return list(dict.fromkeys(name for text in (query, *queries) for name in named_entities(store, text, where=where)))


def named_entities(store: IndexSearch, text: str, *, where: TagFilter | None = None) -> list[str]:
    """Entities of visible chunks that `text` names; longer names take precedence, and a word belongs to one name only.

    A name that is only a stop word when case is ignored (`IT`) must be written as the index spells it.
    """
    words = list(_WORD.finditer(text))
    spans = [
        (first, last) for first in range(len(words)) for last in range(first, min(first + LONGEST_NAME, len(words)))
    ]
    written = {span: text[words[span[0]].start() : words[span[1]].end()] for span in spans}
    stored = store.find_entities(dict.fromkeys(written.values()), where=where)
    taken: set[int] = set()
    found: list[tuple[int, str]] = []
    for first, last in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        name = stored.get(written[first, last])
        if name is None or taken & set(range(first, last + 1)):
            continue
        if not terms(name.lower()) and name not in written[first, last]:
            continue
        taken |= set(range(first, last + 1))
        found.append((first, name))
    return [name for _, name in sorted(found)]


def _spells(name: str, acronym: str) -> bool:
    words = re.split(r"[\s-]+", name)
    main = [word for word in words if word.lower() not in STOP_WORDS]
    return len(words) > 1 and any(
        "".join(word[:1] for word in chosen).casefold() == acronym.casefold() for chosen in (words, main)
    )


def _written_out(text: str, acronym: str, meaning: str) -> str:
    return re.sub(rf"(?<!\w){re.escape(acronym)}(?!\w)", lambda _: meaning, text, flags=re.IGNORECASE)
