"""Shows the hits of a search in a terminal and as JSON, with the reasons for their ranks."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from deployments.screen.passages import excerpt, marked
from deployments.screen.tables import plain_table
from flows.author import RunResult

RETRIEVERS = ("vector", "keyword", "graph", "multi_query", "hyde")
_NOTHING_FOUND = "Nothing found: the documents contain no word of the question, and nothing close to it in meaning."
_NEAREST = 10


def show_hits(console: Console, question: str, answer: Mapping[str, Any]) -> None:
    """Print each hit of `found_json`: document, heading, the best sentences, and their position."""
    if answer["did_you_mean"]:
        console.print(did_you_mean(answer["did_you_mean"]))
        console.print()
    for hit in answer["hits"]:
        more = len(hit["duplicates"])
        collapsed = f"  +{more} near duplicate{'s' if more > 1 else ''}" if more else ""
        console.print(
            Text.assemble(
                (f"{hit['rank']}. ", "dim"),
                (hit["document"] or hit["document_id"], "bold cyan"),
                (f"  {hit['score']:.4f}", "dim"),
                (collapsed, "magenta"),
            )
        )
        if hit["heading"]:
            console.print(Padding(Text(hit["heading"], "italic"), (0, 0, 0, 3), expand=False))
        console.print(Padding(marked(excerpt(hit["text"], question), question), (0, 0, 0, 3), expand=False))
        console.print(Padding(Text(f"{_position(hit)} · {_scores(hit)}", "dim"), (0, 0, 1, 3), expand=False))
    if not answer["hits"]:
        console.print(_NOTHING_FOUND if answer["nothing_found"] else "Nothing found.")


def did_you_mean(suggested: str) -> Text:
    return Text.assemble("Did you mean ", (suggested.rstrip("?"), "bold"), "?")


def _position(hit: Mapping[str, Any]) -> str:
    """The position in the document: page, and characters of the document's text."""
    characters = f"characters {hit['start']}–{hit['end']}"
    return f"page {hit['page']}, {characters}" if hit["page"] else characters


def _scores(hit: Mapping[str, Any]) -> str:
    """The score from each retriever; before fusion, the only one."""
    scores: Mapping[str, float] = hit["scores"] or {hit["found_by"]: hit["score"]}
    return " · ".join(f"{retriever} {score:.3f}" for retriever, score in scores.items())


def found_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """The hits of a search, whether the documents contain nothing about its question, and the suggested spelling."""
    hits = list(data.get("results", ()))
    return {
        "hits": [_hit_json(rank, hit) for rank, hit in zip(_ranks(hits), hits, strict=True)],
        "nothing_found": bool(data.get("nothing_found")),
        "did_you_mean": data.get("did_you_mean"),
    }


def _ranks(hits: Sequence[Any]) -> list[int]:
    """The ranks of hits, counted from 1; equal scores share a rank."""
    from handlers.retrieval import shared_ranks

    return shared_ranks(hit.score for hit in hits)


def _hit_json(rank: int, hit: Any) -> dict[str, Any]:
    return {
        "rank": rank,
        "document": hit.name,
        "document_id": hit.document_id,
        "chunk_id": hit.id,
        "heading": hit.heading,
        "page": hit.page,
        "start": hit.start,
        "end": hit.end,
        "score": hit.score,
        "relevance": hit.relevance,
        "found_by": hit.found_by,
        "scores": dict(hit.scores),
        "text": hit.content,
        "highlights": [{"start": start, "end": end, "text": hit.content[start:end]} for start, end in hit.highlights],
        "duplicates": [{"chunk_id": chunk, "document_id": document} for chunk, document in hit.duplicates],
    }


def errors_json(result: RunResult) -> list[dict[str, str]]:
    """The steps of a search that failed, with their reasons."""
    return [{"step": outcome.id, "message": outcome.error.message} for outcome in result.errors if outcome.error]


def explanation(data: Mapping[str, Any], hits: Sequence[Any]) -> dict[str, Any]:
    """The queries and entities of a search, and the rank at which each retriever found each hit (from 1; None: not).

    The token ranks are among the `candidates` with token vectors.
    """
    from handlers.retrieval import shared_ranks

    found = {name: data[f"{name}_hits"] for name in RETRIEVERS if f"{name}_hits" in data}
    listed = {name: {hit.id: hit.score for hit in hits} for name, hits in found.items()}
    if data.get("token_scores"):
        listed["token"] = dict(data["token_scores"])
    ranks = {
        retriever: dict(zip(scores, shared_ranks(scores.values()), strict=True)) for retriever, scores in listed.items()
    }
    reached = data.get("query_neighbourhood") or {}
    nearest = sorted(reached.items(), key=lambda each: (-each[1].nearness, each[0]))[:_NEAREST]
    return {
        "queries": list(data.get("queries", ())),
        "entities": list(data.get("query_entities", ())),
        "neighbourhood": [
            {"entity": name, "nearness": each.nearness, "path": [hop.described() for hop in each.path]}
            for name, each in nearest
        ],
        "found": {retriever: len(ranked) for retriever, ranked in ranks.items()},
        "candidates": data.get("candidates", 0),
        "ranks": [{retriever: ranked.get(hit.id) for retriever, ranked in ranks.items()} for hit in hits],
    }


def show_explanation(console: Console, explained: Mapping[str, Any], hits: Sequence[Mapping[str, Any]]) -> None:
    for label, values in (("searched for", explained["queries"]), ("entities", explained["entities"])):
        console.print(Text.assemble((f"{label}: ", "dim"), "; ".join(values) or "none"))
    for each in explained["neighbourhood"]:
        if each["path"]:
            way = ", ".join(each["path"])
            console.print(Text.assemble(("reached: ", "dim"), f"{each['entity']} ({each['nearness']:.2f}): {way}"))
    found = explained["found"]
    compared, candidates = found.get("token", 0), explained["candidates"]
    if 0 < compared < candidates:
        console.print(
            Text.assemble(
                ("token vectors: ", "dim"),
                f"{compared} of {candidates} candidates have some; the others are ranked by the other scores",
            )
        )
    counted = [f"{retriever} (of {count})" for retriever, count in found.items()]
    table = plain_table("", "passage", *counted, right=counted)
    for hit, ranks in zip(hits, explained["ranks"], strict=True):
        scores = hit["scores"]
        cells = [
            f"#{own_rank} ({scores[retriever]:.3f})" if own_rank is not None and retriever in scores else "–"
            for retriever, own_rank in ranks.items()
        ]
        table.add_row(f"{hit['rank']}.", Text(hit["document"] or hit["document_id"]), *cells)
    console.print(table)
