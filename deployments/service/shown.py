"""Hits for the page: title, position, marked sentences, and bars for the ranks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

from markupsafe import Markup

from deployments.screen import excerpt
from deployments.service.answers import Passage, SearchAnswer
from deployments.service.prose import marked, wanted_terms
from deployments.service.rendering import to

Tags: TypeAlias = Sequence[tuple[str, str]]
WAYS = {
    "vector": "meaning",
    "keyword": "words",
    "token": "word by word",
    "exact": "as typed",
    "graph": "names",
    "multi_query": "rewording",
    "hyde": "invented",
    "rerank": "reranking",
}
"""The names of the retrievers on the page."""
_ALWAYS = ("vector", "keyword")


@dataclass(frozen=True)
class Bar:
    """The rank and score of a passage by one way of searching, and the score relative to the best shown one."""

    way: str
    label: str
    rank: int | None
    score: float | None
    share: float


@dataclass(frozen=True)
class ShownHit:
    """A passage on the page."""

    hit: Passage
    href: str
    title: str
    where: list[str]
    excerpt: Markup
    bars: list[Bar]
    tags: list[str]


@dataclass(frozen=True)
class Facet:
    """A tag value that narrows the search, or removes a chosen narrowing."""

    tag: str
    count: int
    on: bool
    href: str


def address_of(index: str, document: str, *, passage: str = "", q: str = "") -> str:
    """The address of a document's page, opened at a passage."""
    at = to(f"/indexes/{quote(index)}/documents/{quote(document)}", passage=passage, q=q)
    return f"{at}#p-{passage}" if passage else at


def shown_hits(answer: SearchAnswer, tags: Mapping[str, Tags]) -> list[ShownHit]:
    """The hits of an answer, which must have its explanation; `tags` are by document."""
    explained = answer.explanation
    ranks = explained.ranks if explained else [{} for _ in answer.hits]
    wanted = wanted_terms(answer.question, *(explained.queries + explained.entities if explained else ()))
    extremes = _extremes(answer.hits)
    return [
        ShownHit(
            hit=hit,
            href=address_of(answer.index, hit.document_id, passage=hit.chunk_id, q=answer.question),
            title=_title(hit),
            where=_where(hit),
            excerpt=marked(excerpt(hit.text, answer.question), wanted),
            bars=_bars(hit, rank, extremes),
            tags=[f"{name}={value}" for name, value in tags.get(hit.document_id, ())],
        )
        for hit, rank in zip(answer.hits, ranks, strict=True)
    ]


def facets(tags: Iterable[Tags], chosen: Sequence[str], *, index: str, q: str) -> list[Facet]:
    """The chosen tags, and the tags of the shown documents, most frequent first."""
    counted = Counter(f"{name}={value}" for each in tags for name, value in set(each))
    listed = [*chosen, *(tag for tag, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0])))]
    found: list[Facet] = []
    for tag in dict.fromkeys(listed):
        on = tag in chosen
        after = [each for each in chosen if each != tag] if on else [*chosen, tag]
        found.append(Facet(tag, counted[tag], on, to("/", index=index, q=q, tag=after)))
    return found


def _title(hit: Passage) -> str:
    return hit.document.rpartition("/")[2] or hit.document or hit.document_id


def _where(hit: Passage) -> list[str]:
    folder = hit.document.rpartition("/")[0]
    page = f"page {hit.page}" if hit.page else ""
    place = f"characters {hit.start:,}–{hit.end:,}"
    return [part for part in (hit.heading.replace(" > ", " › "), page, folder, place) if part]


def _extremes(hits: Sequence[Passage]) -> dict[str, tuple[float, float]]:
    scores: dict[str, list[float]] = {}
    for hit in hits:
        for way, score in hit.scores.items():
            scores.setdefault(way, []).append(score)
    return {way: (min(found), max(found)) for way, found in scores.items()}


def _bars(hit: Passage, ranks: Mapping[str, int | None], extremes: Mapping[str, tuple[float, float]]) -> list[Bar]:
    ways = dict.fromkeys([*_ALWAYS, *(way for way in hit.scores if way in WAYS)])
    bars: list[Bar] = []
    for way in ways:
        score = hit.scores.get(way)
        low, high = extremes.get(way, (0.0, 0.0))
        share = 0.0 if score is None else 1.0 if high <= low else (score - low) / (high - low)
        bars.append(Bar(way, WAYS[way], ranks.get(way) if score is not None else None, score, share))
    return bars
