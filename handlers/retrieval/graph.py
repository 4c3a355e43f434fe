"""Search by the graph: from the entities a question names, through their neighbourhood, to chunks."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import log
from typing import NamedTuple

from flows.author import Call, handler
from handlers.records import Hit
from handlers.retrieval.rewriting import named_entities
from handlers.stores import IndexStore
from handlers.tags import TagFilter


class Hop(NamedTuple):
    """One relation as a document states it."""

    source: str
    kind: str
    target: str

    def described(self) -> str:
        """`IAEA stands for International Atomic Energy Agency`."""
        kind = "occurs with" if self.kind == "co_occurs" else self.kind.replace("_", " ")
        return f"{self.source} {kind} {self.target}"


class Reached(NamedTuple):
    """How near an entity is to the question's, 1 for theirs, and the relations that lead there."""

    nearness: float
    path: tuple[Hop, ...] = ()


@handler(writes="graph_hits")
def graph_search(
    query: str,
    query_entities: Sequence[str] | None = None,
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    *,
    top_k: int = 50,
    hops: int = 2,
    decay: float = 0.5,
    fan_out: int = 20,
    call: Call,
) -> list[Hit]:
    """The permitted chunks that speak of the question's entities and of what is related to them, best first.

    A chunk scores the sum over its entities of their nearness (see `neighbourhood`) times how rare they are, so a
    chunk that joins several of the question's entities comes first. Empty when the question names none. Without
    `query_entities` they are looked for in the question itself.
    """
    store: IndexStore = call.services["index_store"]
    where = TagFilter.all_of(access, filters)
    if query_entities is None:
        query_entities = named_entities(store, query, where=where)
    reached = neighbourhood(store, query_entities, hops=hops, decay=decay, fan_out=fan_out, where=where)
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


@handler(writes="query_neighbourhood")
def graph_traverse(
    query_entities: Sequence[str],
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    *,
    hops: int = 2,
    decay: float = 0.5,
    fan_out: int = 20,
    call: Call,
) -> dict[str, Reached]:
    """The entities around the question's, with their nearness and the way there; see `neighbourhood`."""
    return neighbourhood(
        call.services["index_store"],
        query_entities,
        hops=hops,
        decay=decay,
        fan_out=fan_out,
        where=TagFilter.all_of(access, filters),
    )


@handler(writes="relations")
def graph_context(query_neighbourhood: Mapping[str, Reached], *, most: int = 20) -> list[str]:
    """The relations that lead to what is nearest to the question's entities, each once, as lines that can be read."""
    nearest = sorted(query_neighbourhood.items(), key=lambda each: (-each[1].nearness, each[0]))
    hops = dict.fromkeys(hop for _, reached in nearest for hop in reached.path)
    return [hop.described() for hop in hops][:most]


def neighbourhood(
    store: IndexStore,
    names: Sequence[str],
    *,
    hops: int = 2,
    decay: float = 0.5,
    fan_out: int = 20,
    where: TagFilter | None = None,
) -> dict[str, Reached]:
    """Entities within `hops` relations of the named ones, and how near: 1 at the start, times `decay` a hop.

    A relation passes on its weight's share of the heaviest one at that entity; of each entity only the `fan_out`
    heaviest are followed, so that one everything is related to does not drown the rest. Only relations that permitted
    documents state are followed.
    """
    near = {name: Reached(1.0) for name in store.find_entities(names, where=where).values()}
    frontier = list(near)
    order = {name: place for place, name in enumerate(near)}
    for hop_number in range(hops):
        around: dict[str, list[tuple[float, str, str, bool]]] = defaultdict(list)
        for edge in store.neighbours(frontier, where=where):
            around[edge.source].append((edge.weight, edge.target, edge.kind, True))
            around[edge.target].append((edge.weight, edge.source, edge.kind, False))
        fresh: dict[str, Reached] = {}
        for name in frontier:
            # Of two relations as heavy, the one that says more than that both were named leads on.
            heaviest = sorted(around[name], key=lambda each: (-each[0], each[2] == "co_occurs", *each[1:]))[:fan_out]
            for weight, other, kind, forward in heaviest:
                hop = Hop(name, kind, other) if forward else Hop(other, kind, name)
                nearness = near[name].nearness * decay * weight / heaviest[0][0] if heaviest[0][0] > 0 else 0.0
                if hop_number == 0 and other in near and order[other] > order[name] and not near[other].path:
                    near[other] = Reached(1.0, (hop,))  # how the question's own entities are related
                elif other not in near and nearness > (fresh[other].nearness if other in fresh else 0.0):
                    fresh[other] = Reached(nearness, (*near[name].path, hop))
        near.update(fresh)
        frontier = sorted(fresh)
        if not frontier:
            break
    return near
