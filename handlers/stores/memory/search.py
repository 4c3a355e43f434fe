"""Searching an index in memory."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from handlers.records import Hit
from handlers.stores.keys import entity_key, stored_term
from handlers.stores.memory.tables import MemoryTables, Passage
from handlers.stores.ranking import (
    ANY,
    BM25,
    Bm25,
    TermQuery,
    TokenQuery,
    VectorQuery,
    Words,
    best,
    bm25_idf,
    check_dimensions,
    choose_model,
)
from handlers.stores.rows import Edge, Mention
from handlers.tags import TagFilter
from handlers.text import contains
from handlers.token_vectors import late_interaction


class MemorySearch(MemoryTables):
    """An `IndexSearch`."""

    def search_vectors(
        self,
        vector: np.ndarray,
        *,
        top_k: int = 50,
        model: str | None = None,
        where: TagFilter | None = None,
        words: Words = ANY,
        with_text: bool = True,
    ) -> list[Hit]:
        with self._lock:
            scores = self._nearest(VectorQuery(vector, model), where, words)
            return self._found(_top(scores, top_k), "vector", with_text=with_text)

    def search_terms(
        self,
        counts: Mapping[str, float],
        *,
        top_k: int = 50,
        bm25: Bm25 = BM25,
        where: TagFilter | None = None,
        words: Words = ANY,
        with_text: bool = True,
    ) -> list[Hit]:
        with self._lock:
            scores = self._matching(TermQuery(counts, bm25), where, words)
            return self._found(_top(scores, top_k), "keyword", with_text=with_text)

    def scores(
        self, chunk_ids: Iterable[str], query: VectorQuery | TermQuery | TokenQuery, *, where: TagFilter | None = None
    ) -> dict[str, float]:
        with self._lock:
            if isinstance(query, TokenQuery):
                return self._compared(list(dict.fromkeys(chunk_ids)), query, where)
            search = self._nearest if isinstance(query, VectorQuery) else self._matching
            found = search(query, where, ANY)  # pyright: ignore[reportArgumentType]: each takes its own kind
            return {each: found[each] for each in dict.fromkeys(chunk_ids) if each in found}

    def having(
        self, chunk_ids: Iterable[str], terms: Iterable[str], *, where: TagFilter | None = None
    ) -> dict[str, set[str]]:
        with self._lock:
            visible = {key: each for key, each in self._visible().items() if self._permits(where, each.document_id)}
            known = {each: _terms(visible[each]) for each in chunk_ids if each in visible}
            return {term: {each for each in known if stored_term(term) in known[each]} for term in terms}

    def occurring(self, terms: Iterable[str], *, where: TagFilter | None = None) -> set[str]:
        with self._lock:
            permitted = [each for each in self._visible().values() if self._permits(where, each.document_id)]
            there = {term for each in permitted if each.terms for term, _ in each.terms.counts}
            return {term for term in terms if stored_term(term) in there}

    def terms_from(self, prefix: str, *, limit: int = 100_000) -> list[str]:
        with self._lock:
            there = {term for each in self._passages.values() if each.terms for term, _ in each.terms.counts}
            return sorted(term for term in there if term.startswith(prefix))[:limit]

    def containing(self, phrase: str, *, top_k: int = 50, where: TagFilter | None = None) -> list[str]:
        with self._lock:
            chunks = [
                chunk
                for _, version in self._published.values()
                if self._permits(where, version.document.id)
                for chunk in version.chunks.values()
            ]
            return sorted(chunk.id for chunk in chunks if contains(chunk.text, phrase))[:top_k]

    def tag_values(self, name: str, *, where: TagFilter | None = None) -> list[str]:
        with self._lock:
            permitted = [each for each in self._published if self._permits(where, each)]
            tags = (tag for each in permitted for tag in self._published[each][1].document.tags)
            return sorted({value for key, value in tags if key == name})

    def _nearest(self, query: VectorQuery, where: TagFilter | None, words: Words) -> dict[str, float]:
        rows = [
            (key, each, *vector) for key, each in self._visible().items() if (vector := self._vector(each)) is not None
        ]
        chosen = choose_model(sorted({model for _, _, model, _ in rows}), query.model)
        scores: dict[str, float] = {}
        for key, each, model, vector in rows:
            if model != chosen:
                continue
            check_dimensions(np.size(query.vector), vector.size)
            if self._permits(where, each.document_id) and words.permit(_terms(each)):
                scores[key] = float(vector @ query.vector)
        return scores

    def _compared(self, chunk_ids: Sequence[str], query: TokenQuery, where: TagFilter | None) -> dict[str, float]:
        visible = self._visible()
        there = [(each, visible[each]) for each in chunk_ids if each in visible]
        held = {
            key: self._packed(each)
            for key, each in there
            if (self._vector(each) or ("",))[0] == query.model and self._permits(where, each.document_id)
        }
        scores = zip(held, late_interaction(query.tokens, list(held.values())), strict=True)
        return {each: score for each, score in scores if score is not None}

    def _matching(self, query: TermQuery, where: TagFilter | None, words: Words) -> dict[str, float]:
        visible = {key: each for key, each in self._visible().items() if self._permits(where, each.document_id)}
        bm25 = query.bm25
        lengths = {key: each.terms.length if each.terms else 0 for key, each in visible.items()}
        average = sum(lengths.values()) / max(len(lengths), 1) or 1.0
        weights = {stored_term(term): weight for term, weight in query.weights.items()}
        postings: dict[str, dict[str, int]] = defaultdict(dict)
        for key, each in visible.items():
            for term, count in each.terms.counts if each.terms else ():
                postings[term][key] = count
        scores: dict[str, float] = defaultdict(float)
        for term in sorted(weights):
            idf = bm25_idf(len(visible), len(postings[term]))
            for key, count in postings[term].items():
                if words.permit(_terms(visible[key])):
                    norm = bm25.k1 * (1 - bm25.b + bm25.b * lengths[key] / average)
                    scores[key] += weights[term] * idf * count * (bm25.k1 + 1) / (count + norm)
        return scores

    def _found(self, scores: Mapping[str, float], found_by: str, *, with_text: bool) -> list[Hit]:
        if with_text:
            return self.hits(scores, found_by=found_by)
        visible = self._visible()
        return [Hit(key, visible[key].document_id, score, "", found_by) for key, score in scores.items()]

    def find_entities(self, names: Iterable[str], *, where: TagFilter | None = None) -> dict[str, str]:
        with self._lock:
            stored = self._names(where)
            return {name: stored[entity_key(name)] for name in names if entity_key(name) in stored}

    def neighbours(self, names: Iterable[str], *, limit: int = 1000, where: TagFilter | None = None) -> list[Edge]:
        with self._lock:
            stored, wanted = self._names(where), {entity_key(name) for name in names}
            weights: dict[tuple[str, str, str], float] = defaultdict(float)
            permitted = [each for each in self._visible().values() if self._permits(where, each.document_id)]
            for each in (relation for passage in permitted for relation in passage.relations):
                ends = entity_key(each.start), entity_key(each.end)
                if wanted & set(ends):
                    weights[stored[ends[0]], stored[ends[1]], each.kind] += each.weight
            edges = [Edge(*key, weight) for key, weight in weights.items()]
            return sorted(edges, key=lambda edge: (-edge.weight, edge.start, edge.end, edge.kind))[:limit]

    def mentions(self, names: Iterable[str], *, where: TagFilter | None = None) -> list[Mention]:
        with self._lock:
            stored, wanted = self._names(where), {entity_key(name) for name in names}
            counted = Counter(
                (key, stored[entity_key(each.name)])
                for key, passage in self._visible().items()
                if self._permits(where, passage.document_id)
                for each in passage.entities
                if entity_key(each.name) in wanted
            )
            return sorted(Mention(*key, count) for key, count in counted.items())

    def hits(self, scores: Mapping[str, float], *, found_by: str, where: TagFilter | None = None) -> list[Hit]:
        with self._lock:
            found: list[Hit] = []
            for _, version in self._published.values():
                document = version.document
                for chunk in version.chunks.values():
                    if chunk.id in scores and self._permits(where, document.id):
                        found.append(
                            Hit(
                                id=chunk.id,
                                document_id=document.id,
                                score=float(scores[chunk.id]),
                                content=chunk.text,
                                found_by=found_by,
                                name=document.name,
                                heading=chunk.heading,
                                page=chunk.page,
                                start=chunk.start,
                                end=chunk.end,
                            )
                        )
            return sorted(found, key=lambda hit: (-hit.score, hit.id))


def _top(scores: Mapping[str, float], top_k: int) -> dict[str, float]:
    keys = np.array(list(scores))
    top = best(keys, np.array(list(scores.values())), top_k)
    return {str(key): scores[str(key)] for key in keys[top]}


def _terms(passage: Passage) -> set[str]:
    return {term for term, _ in passage.terms.counts} if passage.terms else set()
