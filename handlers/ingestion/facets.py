"""The facets that an index stores of a document, and how each was made, so that only outdated ones are made again."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from flows.author import Call
from handlers.records import Chunk, stable_id
from handlers.stores import ChunkState, IndexReader, outdated_facets, parse_facets

DOCUMENTS = "documents"
FACETS = (DOCUMENTS, "vectors", "terms", "graph")
"""`documents` is text, passages, summary and artifacts; the others hang on the passages alone."""


def wanted_facets(call: Call) -> dict[str, str]:
    """How the pipeline of this run makes each facet that it makes at all."""
    found = {
        facet: effect.fingerprint
        for facet in FACETS
        if (effect := call.identity.effect_fingerprints.get(f"index.{facet}")) is not None
    }
    if "vectors" in found and "embedder" in call.services:
        found["vectors"] = stable_id(found["vectors"], call.services["embedder"].name)[:16]
    return found


def facets_of_step(call: Call, step: str) -> set[str]:
    """The facets that the work of a step (or handler) goes into; empty if there is no such step."""
    return {
        facet
        for facet in FACETS
        if (effect := call.identity.effect_fingerprints.get(f"index.{facet}")) is not None and step in effect.steps
    }


def chunks_to_make(
    chunks: Sequence[Chunk], facet: str, redo: Iterable[str], call: Call, *, changed: Collection[str] = ()
) -> list[Chunk]:
    """The chunks of which a facet has to be made: those without one that was made as this run makes it.

    Those of `changed` ids have to be made whatever the index has.
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
    """The facets that were made in another way than is wanted, or that are to be made again anyway."""
    return outdated_facets(stored, wanted) | (wanted.keys() & set(redo))
