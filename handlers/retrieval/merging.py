"""The end of every retrieval pipeline: fuse the rankings, rerank the best, drop hits that may not be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flows.author import Call, handler
from flows.errors import FatalError
from handlers.options import Options, spread
from handlers.records import Hit
from handlers.retrieval.fusion import reciprocal_rank_fusion, weighted_fusion
from handlers.stores import IndexReader
from handlers.tags import TagFilter

DEFAULT_WEIGHTS: Mapping[str, float] = {"vector": 1.0, "keyword": 1.0, "graph": 0.5, "multi_query": 1.0, "hyde": 1.0}
"""The graph confirms and adds. At half weight and k = 60, a chunk that only it found (at most 0.5 / 61) stands below
everything that another retriever has among its first 60 (at least 1 / 120)."""


@dataclass(frozen=True)
class Fusion(Options):
    """How rankings become one."""

    method: Literal["rrf", "weighted"] = "rrf"
    k: int = 60
    weights: dict[str, float] | None = None


@handler(writes="results")
@spread
def hybrid_merge(
    vector_hits: Sequence[Hit] = (),
    keyword_hits: Sequence[Hit] = (),
    graph_hits: Sequence[Hit] = (),
    multi_query_hits: Sequence[Hit] = (),
    hyde_hits: Sequence[Hit] = (),
    *,
    fusion: Fusion,
    limit: int = 50,
) -> list[Hit]:
    """One ranking of all that was found, best first; ties keep the order of the retrievers.

    Each hit has every retriever's own score in `scores`. `weights` are by retriever: vector, keyword, graph,
    multi_query, hyde.

    Raises:
        ValueError: a weight is negative or for no retriever, or `k` is below 1.
    """
    weights = fusion.weights or {}
    unknown = weights.keys() - DEFAULT_WEIGHTS.keys()
    if unknown:
        raise ValueError(f"weights: no retriever named {min(unknown)!r}; there are {', '.join(DEFAULT_WEIGHTS)}")
    chosen = list({**DEFAULT_WEIGHTS, **weights}.values())
    rankings = [vector_hits, keyword_hits, graph_hits, multi_query_hits, hyde_hits]
    if fusion.method == "weighted":
        return weighted_fusion(rankings, weights=chosen)[:limit]
    return reciprocal_rank_fusion(rankings, k=fusion.k, weights=chosen)[:limit]


@handler(writes="results")
def rerank(query: str, results: Sequence[Hit], *, enabled: bool = False, top_k: int = 20, call: Call) -> list[Hit]:
    """The best `top_k` results in the order of a cross-encoder that reads question and chunk together; the rest after.

    Off by default: measure on your own questions whether it gains what it costs.
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
    *,
    tags: dict[str, list[str]] | None = None,
    required: bool = False,
    limit: int | None = None,
    call: Call,
) -> list[Hit]:
    """Those results whose documents' tags match `access` (who asks), `filters` (what is asked for) and `tags` (what
    the pipeline shows).

    The tags are looked up now, so documents that were removed or tagged otherwise since the search are not shown. With
    `required`, a question without `access` is refused instead of seeing everything.

    Raises:
        FatalError: `required`, and no `access` was given.
    """
    where = TagFilter.all_of(access, filters, tags)
    if required and not access:
        raise FatalError("filter_access: this pipeline answers only with `access` given, for example {user: [ann]}")
    if where:
        store: IndexReader = call.services["index_store"]
        known = store.tags_of({hit.document_id for hit in results})
        results = [hit for hit in results if hit.document_id in known and where.matches(known[hit.document_id])]
    return list(results[:limit])
