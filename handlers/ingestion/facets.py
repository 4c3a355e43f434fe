"""The facets of a document in an index, and how each was made, so that only outdated ones are remade."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from flows.author import Call
from handlers.records import Chunk, stable_id
from handlers.stores import ChunkState, IndexReader, outdated_facets, parse_facets

DOCUMENTS = "documents"
FACETS = (DOCUMENTS, "vectors", "terms", "graph")
"""`documents` covers text, passages, summary and artifacts; the other facets depend only on the passages."""


def wanted_facets(call: Call) -> dict[str, str]:
    """How the pipeline of this run makes each of its facets."""
    found = {
        facet: effect.fingerprint
        for facet in FACETS
        if (effect := call.identity.effect_fingerprints.get(f"index.{facet}")) is not None
    }
    if "vectors" in found and "embedder" in call.services:
        found["vectors"] = stable_id(found["vectors"], call.services["embedder"].name)[:16]
    return found


def facets_of_step(call: Call, step: str) -> set[str]:
    """The facets to which a step (or handler) contributes; empty if there is no such step."""
    return {
        facet
        for facet in FACETS
        if (effect := call.identity.effect_fingerprints.get(f"index.{facet}")) is not None and step in effect.steps
    }


def chunks_to_make(
    chunks: Sequence[Chunk], facet: str, redo: Iterable[str], call: Call, *, changed: Collection[str] = ()
) -> list[Chunk]:
    """The chunks for which a facet must be made, because the index lacks it or has it in another way.

    Chunks with `changed` ids must be made in any case.
    """
    made = wanted_facets(call).get(facet)
    if made is None or facet in set(redo) or "index_store" not in call.services:
        return list(chunks)
    store: IndexReader = call.services["index_store"]
    states = store.chunk_states([chunk.id for chunk in chunks])
    model = call.services["embedder"].name if facet == "vectors" else None
    return [chunk for chunk in chunks if chunk.id in changed or not _is_made(states.get(chunk.id), facet, made, model)]


def _is_made(state: ChunkState | None, facet: str, made: str, model: str | None) -> bool:
    if state is None or parse_facets(state.fingerprint).get(facet) != made:
        return False
    return state.model == model if facet == "vectors" else state.terms


def stale_facets(stored: str, wanted: Mapping[str, str], redo: Collection[str]) -> set[str]:
    """The facets that were made in another way than wanted, or that `redo` names."""
    return outdated_facets(stored, wanted) | (wanted.keys() & set(redo))
