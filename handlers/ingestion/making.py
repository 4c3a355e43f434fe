"""How documents were made: noted with the sources of an index, by the fingerprint that documents made so have.

So they can be made afresh in the same way, by another process and when nothing else is known of the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flows.author import Call
from flows.state import Identity
from handlers.ingestion.facets import wanted_facets
from handlers.stores import IndexSources, SourceRecord, format_facets, outdated_facets, parse_facets

_NAME = "made_by"
_MOST = 8
"""Ways that are kept with each source."""


@dataclass(frozen=True)
class Making:
    """A pipeline, and its parameters that are not their defaults."""

    pipeline: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


def making_fingerprint(identity: Identity) -> str:
    """The fingerprint of the documents that a run makes."""
    return format_facets(wanted_facets(Call("settle", identity=identity)))


def note_making(store: IndexSources, making: Making, *, source: str, fingerprint: str = "") -> None:
    """Note how a run on a source (its URI) made documents, with every source, since they may share documents.

    It becomes the newest way of its own source. Without a fingerprint, it is noted with that alone.
    """
    for record in store.sources():
        known: dict[str, Any] = dict(record.balance.get(_NAME, {}))
        noted = {fingerprint: {"pipeline": making.pipeline, "parameters": dict(making.parameters)}}
        if record.uri == source:
            known.pop(fingerprint, None)
            known |= noted
        elif fingerprint:
            known = noted | known
        changed = {**record.balance, _NAME: dict([*known.items()][-_MOST:])}
        # A source without a balance has not been ingested yet.
        if record.balance and changed != record.balance:
            store.put_source(replace(record, balance=changed))


def making_of(record: SourceRecord, fingerprint: str) -> Making | None:
    """How documents of a source with this fingerprint were made, else how the last ones were; None if nobody knows.

    A fingerprint may lack facets: the one that is left when another version of the index makes these anew.
    """
    known: Mapping[str, Any] = record.balance.get(_NAME, {})
    facets = parse_facets(fingerprint)
    newest_first = list(known.items())[::-1]
    found = [way for made, way in newest_first if not outdated_facets(made, facets)] or [way for _, way in newest_first]
    return Making(found[0]["pipeline"], found[0]["parameters"]) if found else None
