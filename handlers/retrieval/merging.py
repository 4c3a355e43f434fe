"""The last steps of every retrieval pipeline: fuse the rankings, rerank the best, drop hits that may not be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from flows.author import Call, handler
from flows.errors import FatalError
from handlers.options import Options, spread
from handlers.records import Hit
from handlers.retrieval.candidates import Candidates, compare_tokens, true_scores
from handlers.retrieval.fusion import Voice, reciprocal_rank_fusion, weighted_fusion
from handlers.retrieval.understanding import Question, read_question
from handlers.stores import IndexReader
from handlers.tags import TagFilter

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "vector": 1.0,
    "keyword": 1.0,
    "token": 1.0,
    "graph": 0.0,
    "multi_query": 1.0,
    "hyde": 1.0,
}
"""The graph ranks by the rarity of names, not by the question, so it counts only if no other retriever finds anything.
"""


@dataclass(frozen=True)
class Fusion(Options):
    """The options for fusing rankings."""

    method: Literal["weighted", "rrf"] = "weighted"
    k: int = 60
    weights: dict[str, float] | None = None


@handler(writes=("results", "token_scores", "candidates"), needs="index_store")
@spread
def hybrid_merge(
    query: str,
    question: Question | None = None,
    queries: Sequence[str] = (),
    query_vector: np.ndarray | None = None,
    vector_hits: Sequence[Hit] = (),
    keyword_hits: Sequence[Hit] = (),
    graph_hits: Sequence[Hit] = (),
    multi_query_hits: Sequence[Hit] = (),
    hyde_hits: Sequence[Hit] = (),
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    *,
    fusion: Fusion,
    limit: int = 50,
    call: Call,
) -> dict[str, Any]:
    """One ranking of all hits, best first; ties are in the order of passage ids.

    `weighted` looks up the vector and keyword scores of every candidate, whichever list it comes from, compares the
    best 200 with the question token by token, as far as they have token vectors, and takes the weighted mean of the
    scaled scores (see `weighted_fusion`); `rrf` uses only the ranks in the lists. A passage gets 1 more for each quoted
    phrase or typed name that it contains word for word, so it comes first. Each hit has every retriever's score in
    `scores`, and the count of exact matches as `exact`. `weights` are by retriever: vector, keyword, token, graph,
    multi_query, hyde; a retriever with weight 0 counts only if the others found nothing. `token_scores` are the token
    scores by passage, best first, for candidates with token vectors; `candidates` is the number of all.

    Raises:
        ValueError: a weight is negative or for no retriever, or `k` is below 1.
    """
    weights = fusion.weights or {}
    unknown = weights.keys() - DEFAULT_WEIGHTS.keys()
    if unknown:
        raise ValueError(f"weights: no retriever named {min(unknown)!r}; there are {', '.join(DEFAULT_WEIGHTS)}")
    chosen = {**DEFAULT_WEIGHTS, **weights}
    found = {
        "vector": vector_hits,
        "keyword": keyword_hits,
        "graph": graph_hits,
        "multi_query": multi_query_hits,
        "hyde": hyde_hits,
    }
    counted = {name: hits for name, hits in found.items() if chosen[name] != 0}
    if not any(counted.values()):
        counted, chosen = found, dict.fromkeys(DEFAULT_WEIGHTS, 1.0)
    if question is None:
        question = read_question(query, access, filters, call=call)
    where = TagFilter.all_of(access, filters, question.filters)
    candidates = Candidates(call.services["index_store"], question, where)
    exact = candidates.add(counted.values())
    token_scores: Mapping[str, float] = {}
    if fusion.method == "rrf":
        ranked = reciprocal_rank_fusion(list(counted.values()), k=fusion.k, weights=[chosen[name] for name in counted])
        fused = {hit.id: hit.score for hit in ranked}
        own = {hit.id: dict(hit.scores) for hit in ranked}
    else:
        voices = [Voice(name, {hit.id: hit.score for hit in hits}, chosen[name]) for name, hits in counted.items()]
        voices = true_scores(candidates, voices, query_vector, queries, call)
        fused = weighted_fusion(candidates.ids, voices)
        if vector_hits and chosen["token"] != 0:
            token_scores = compare_tokens(candidates, fused, question.text or query, call)
            voices.append(Voice("token", token_scores, chosen["token"], partial=True))
            fused = weighted_fusion(candidates.ids, voices)
        own = {each: {v.name: v.scores[each] for v in voices if each in v.scores} for each in candidates.ids}
    fused = {each: fused.get(each, 0.0) + exact.get(each, 0) for each in candidates.ids}
    best = dict(sorted(fused.items(), key=lambda pair: (-pair[1], pair[0]))[:limit])
    retrievers = candidates.retrievers(counted)
    results = [
        replace(
            hit,
            found_by="+".join(retrievers.get(hit.id, ("exact",))),
            scores={**own.get(hit.id, {}), **({"exact": float(exact[hit.id])} if hit.id in exact else {})},
        )
        for hit in candidates.hits(best)
    ]
    return {"results": results, "token_scores": token_scores, "candidates": len(candidates.ids)}


@handler(writes="results")
def rerank(query: str, results: Sequence[Hit], *, enabled: bool = False, top_k: int = 20, call: Call) -> list[Hit]:
    """The best `top_k` results reordered by a cross-encoder that reads question and chunk together; the rest follow.

    Off by default: measure on your own questions whether the gain is worth the cost.
    """
    if not enabled or not results:
        return list(results)
    first, rest = results[:top_k], results[top_k:]
    scores = call.services["reranker"].score(query, [hit.content for hit in first])
    scored = [
        replace(hit, score=float(score), scores={**hit.own_scores, "rerank": float(score)})
        for hit, score in zip(first, scores, strict=True)
    ]
    return [*sorted(scored, key=lambda hit: -hit.score), *rest]


@handler(writes="results")
def filter_access(
    results: Sequence[Hit],
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    question: Question | None = None,
    *,
    tags: dict[str, list[str]] | None = None,
    required: bool = False,
    limit: int | None = None,
    call: Call,
) -> list[Hit]:
    """The results that match `access` (of the user), `filters` (of the question) and `tags` (of the pipeline).

    The tags are looked up now, so documents that were removed or tagged otherwise since the search are not shown. With
    `required`, a question without `access` is refused instead of seeing everything.

    Raises:
        FatalError: `required`, and no `access` was given.
    """
    where = TagFilter.all_of(access, filters, tags, question.filters if question else None)
    if required and not access:
        raise FatalError("filter_access: this pipeline needs the parameter `access`, for example {user: [ann]}")
    if where:
        store: IndexReader = call.services["index_store"]
        known = store.tags_of({hit.document_id for hit in results})
        results = [hit for hit in results if hit.document_id in known and where.matches(known[hit.document_id])]
    return list(results[:limit])
