"""Search by the graph: from the entities a question names, through their neighbourhood, to chunks."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import NamedTuple

from flows.author import Call, handler
from handlers.options import Options, spread
from handlers.records import Hit
from handlers.retrieval.rewriting import named_entities
from handlers.retrieval.understanding import Question
from handlers.stores import IndexSearch
from handlers.tags import TagFilter


class Hop(NamedTuple):
    """One relation as a document states it."""

    start: str
    kind: str
    end: str

    def described(self) -> str:
        """`IAEA stands for International Atomic Energy Agency`."""
        kind = "occurs with" if self.kind == "co_occurs" else self.kind.replace("_", " ")
        return f"{self.start} {kind} {self.end}"


class Neighbour(NamedTuple):
    """The nearness of an entity to the question's entities (which have 1), and the relations that lead to it."""

    nearness: float
    path: tuple[Hop, ...] = ()


@dataclass(frozen=True)
class Walk(Options):
    """The limits for following the graph."""

    hops: int = 2
    decay: float = 0.5
    fan_out: int = 20


@handler(writes="graph_hits", needs="index_store")
@spread
def graph_search(
    query: str,
    query_entities: Sequence[str] | None = None,
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    question: Question | None = None,
    *,
    top_k: int = 50,
    walk: Walk,
    call: Call,
) -> list[Hit]:
    """The permitted chunks that mention the question's entities and those related to them, best first.

    A chunk scores the sum over its entities of their nearness (see `neighbourhood`) times how rare they are, so a
    chunk that joins several of the question's entities comes first. Empty if the question names none. Without
    `query_entities`, they are looked for in the question itself.
    """
    store: IndexSearch = call.services["index_store"]
    where = TagFilter.all_of(access, filters, question.filters if question else None)
    if query_entities is None:
        query_entities = named_entities(store, query, where=where)
    reached = neighbourhood(store, query_entities, walk, where=where)
    near = {name: each.nearness for name, each in reached.items()}
    if not near:
        return []
    mentions = store.mentions(near, where=where)
    spread = Counter(mention.name for mention in mentions)
    scores: dict[str, float] = defaultdict(float)
    for mention in mentions:
        rarity = 1 / (1 + log(spread[mention.name]))
        scores[mention.chunk_id] += near[mention.name] * rarity * (1 + log(mention.times))
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:top_k]
    return store.hits(dict(ranked), found_by="graph", where=where)


@handler(writes="query_neighbourhood", needs="index_store")
@spread
def graph_traverse(
    query_entities: Sequence[str],
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    question: Question | None = None,
    *,
    walk: Walk,
    call: Call,
) -> dict[str, Neighbour]:
    """The entities around the question's, with their nearness and the way there; see `neighbourhood`."""
    store: IndexSearch = call.services["index_store"]
    where = TagFilter.all_of(access, filters, question.filters if question else None)
    return neighbourhood(store, query_entities, walk, where=where)


@handler(writes="relations")
def graph_context(query_neighbourhood: Mapping[str, Neighbour], *, most: int = 20) -> list[str]:
    """The relations that lead to the nearest neighbours of the question's entities, each once, as readable lines."""
    nearest = sorted(query_neighbourhood.items(), key=lambda each: (-each[1].nearness, each[0]))
    hops = dict.fromkeys(hop for _, reached in nearest for hop in reached.path)
    return [hop.described() for hop in hops][:most]


def neighbourhood(
    store: IndexSearch, names: Sequence[str], walk: Walk, *, where: TagFilter | None = None
) -> dict[str, Neighbour]:
    """Entities within `hops` relations of the named ones, and how near: 1 at the start, times `decay` per hop.

    Along a relation, nearness is multiplied by the relation's weight divided by the largest weight at that entity. Only
    the `fan_out` heaviest relations of each entity are followed, so that an entity related to everything does not
    dominate. Only relations that permitted documents state are followed.
    """
    near = {name: Neighbour(1.0) for name in store.find_entities(names, where=where).values()}
    frontier = list(near)
    order = {name: position for position, name in enumerate(near)}
    for hop_number in range(walk.hops):
        around: dict[str, list[tuple[float, str, str, bool]]] = defaultdict(list)
        for edge in store.neighbours(frontier, where=where):
            around[edge.start].append((edge.weight, edge.end, edge.kind, True))
            around[edge.end].append((edge.weight, edge.start, edge.kind, False))
        fresh: dict[str, Neighbour] = {}
        for name in frontier:
            # Of two equally heavy relations, the one that states more than a co-occurrence is followed first.
            ranked = sorted(around[name], key=lambda each: (-each[0], each[2] == "co_occurs", *each[1:]))
            heaviest = ranked[: walk.fan_out]
            for weight, other, kind, forward in heaviest:
                hop = Hop(name, kind, other) if forward else Hop(other, kind, name)
                nearness = near[name].nearness * walk.decay * weight / heaviest[0][0] if heaviest[0][0] > 0 else 0.0
                if hop_number == 0 and other in near and order[other] > order[name] and not near[other].path:
                    near[other] = Neighbour(1.0, (hop,))  # relations between the question's own entities
                elif other not in near and nearness > (fresh[other].nearness if other in fresh else 0.0):
                    fresh[other] = Neighbour(nearness, (*near[name].path, hop))
        near.update(fresh)
        frontier = sorted(fresh)
        if not frontier:
            break
    return near
