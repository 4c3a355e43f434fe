"""The candidates of a question: the hits of all retrievers, passages with its exact words, and their true scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice

import numpy as np

from flows.author import Call
from handlers.models import Embedder, TokenEmbedder
from handlers.records import Hit
from handlers.retrieval.fusion import Voice
from handlers.retrieval.searching import embed_query, term_query
from handlers.retrieval.understanding import Question
from handlers.stores import IndexSearch, TokenQuery, VectorQuery, Words
from handlers.tags import TagFilter
from handlers.text import contains

_MOST_EXACT = 50
"""How many passages (the best by words) are searched for each phrase or name."""
MOST_COMPARED = 200
"""How many candidates (the best by the other scores) are compared with a question token by token."""


class Candidates:
    """Passages that may answer a question, by id; their text is read only where it is needed."""

    def __init__(self, store: IndexSearch, question: Question, where: TagFilter) -> None:
        self.store, self.question, self.where = store, question, where
        self.ids: list[str] = []
        self._read: dict[str, Hit] = {}

    def add(self, rankings: Iterable[Sequence[Hit]]) -> dict[str, int]:
        """Add the hits of rankings and the passages with exact phrases or names; return how many of these each passage
        has.
        """
        listed = dict.fromkeys(hit.id for ranking in rankings for hit in ranking)
        question = self.question
        phrases = question.phrases
        for phrase in phrases:
            wordings = question.wordings(phrase)
            having = [each for wording in wordings for each in self._having(wording)]
            listed.update(dict.fromkeys(having if wordings else self._containing(phrase)))
        typed = [*((name,) for name in question.names), *question.meant]
        for term in chain.from_iterable(typed):
            listed.update(dict.fromkeys(self._having([term])))
        if phrases or question.no_phrases:
            self._read = {hit.id: hit for hit in self._fetch(listed)}
        excluded = [
            each
            for each, hit in self._read.items()
            if any(contains(hit.content, phrase) for phrase in question.no_phrases)
        ]
        self.ids = sorted(listed.keys() - set(excluded))
        exact: dict[str, int] = {}
        for each in self.ids:
            text = self._read[each].content if each in self._read else ""
            times = sum(contains(text, phrase) for phrase in phrases) if text else 0
            if times:
                exact[each] = times
        having = self.store.having(self.ids, dict.fromkeys(chain.from_iterable(typed)), where=self.where)
        for terms in typed:
            for each in set[str]().union(*(having[term] for term in terms)):
                exact[each] = exact.get(each, 0) + 1
        return exact

    def hits(self, scores: Mapping[str, float]) -> list[Hit]:
        """These candidates as complete hits, best first."""
        if all(each in self._read for each in scores):
            return [replace(self._read[each], score=score) for each, score in scores.items()]
        return self.store.hits(scores, found_by="", where=self.where)

    def retrievers(self, rankings: Mapping[str, Sequence[Hit]]) -> dict[str, dict[str, None]]:
        """The names of the rankings that have each candidate."""
        found: dict[str, dict[str, None]] = {}
        for name, hits in rankings.items():
            for hit in hits:
                found.setdefault(hit.id, {})[name] = None
        return found

    def _fetch(self, ids: Iterable[str]) -> list[Hit]:
        return self.store.hits(dict.fromkeys(ids, 0.0), found_by="", where=self.where)

    def _having(self, wanted: Sequence[str]) -> list[str]:
        counts, words = dict.fromkeys(wanted, 1.0), Words(tuple(dict.fromkeys(wanted)), self.question.none)
        found = self.store.search_terms(counts, top_k=_MOST_EXACT, where=self.where, words=words, with_text=False)
        return [hit.id for hit in found]

    def _containing(self, phrase: str) -> list[str]:
        return self.store.containing(phrase, top_k=_MOST_EXACT, where=self.where)


def true_scores(
    candidates: Candidates,
    voices: Sequence[Voice],
    query_vector: np.ndarray | None,
    queries: Sequence[str],
    call: Call,
) -> list[Voice]:
    """The voices, completed with the scores of all candidates by meaning and by words where they can be looked up."""
    found: list[Voice] = []
    for voice in voices:
        scores = voice.scores
        if voice.name == "keyword":
            scores = dict.fromkeys(candidates.ids, 0.0)
            scores |= candidates.store.scores(
                candidates.ids, term_query(candidates.question, queries), where=candidates.where
            )
        elif voice.name == "vector" and scores:
            if query_vector is None:
                query_vector = embed_query(candidates.question.text, call=call)
            model = call.services["embedder"].name if "embedder" in call.services else None
            lacking = [each for each in candidates.ids if each not in scores]
            query = VectorQuery(query_vector, model)
            scores = {**scores, **candidates.store.scores(lacking, query, where=candidates.where)}
        found.append(replace(voice, scores=scores))
    return [voice for voice in found if any(voice.scores.values())]


def compare_tokens(candidates: Candidates, best_first: Iterable[str], query: str, call: Call) -> dict[str, float]:
    """How well the tokens of candidates match those of the question, best first, for the first 200 candidates with
    token vectors.

    The result is empty if the embedding model has no token vectors.
    """
    if "embedder" not in call.services:
        return {}
    embedder: Embedder = call.services["embedder"]
    if not isinstance(embedder, TokenEmbedder) or (tokens := embedder.embed_query_tokens(query)[1]) is None:
        return {}
    compared = list(islice(best_first, MOST_COMPARED))
    scores = candidates.store.scores(compared, TokenQuery(tokens, embedder.name), where=candidates.where)
    return dict(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0])))
