"""The fingerprint that is stored with a document: how each facet of it was made."""

from collections.abc import Collection, Mapping
from typing import get_args

from handlers.stores.rows import Facet

_NAMES: dict[Facet, str] = {"vectors": "vectors", "terms": "terms", "facts": "graph"}
"""The names of the facets of passages in fingerprints."""
assert _NAMES.keys() == set(get_args(Facet))


def format_facets(facets: Mapping[str, str]) -> str:
    """The fingerprint that is stored with a document, of how each facet was made."""
    return " ".join(f"{facet}={made}" for facet, made in sorted(facets.items()))


def parse_facets(fingerprint: str) -> dict[str, str]:
    """How each facet was made, as a stored fingerprint has it."""
    pairs = (part.partition("=") for part in fingerprint.split())
    return {facet: made for facet, _, made in pairs if made}


def outdated_facets(stored: str, wanted: Mapping[str, str]) -> set[str]:
    """The wanted facets that are missing in a stored fingerprint, or were made in another way."""
    found = parse_facets(stored)
    return {facet for facet, made in wanted.items() if found.get(facet) != made}


def remade_facets(before: str, after: str) -> set[Facet]:
    """The facets of passages that differ between an earlier and a later fingerprint."""
    remade = outdated_facets(before, parse_facets(after))
    return {facet for facet, name in _NAMES.items() if name in remade}


def disclaimed(fingerprint: str, facets: Collection[Facet], made: str) -> str:
    """The fingerprint without those facets of passages that `made` makes in another way."""
    stored, new = parse_facets(fingerprint), parse_facets(made)
    gone = {_NAMES[facet] for facet in facets if stored.get(_NAMES[facet]) != new.get(_NAMES[facet])}
    return format_facets({facet: how for facet, how in stored.items() if facet not in gone})


def is_made_so(fingerprint: str, ways: Collection[str]) -> bool:
    """Whether a document was made in one of these ways, in all their facets."""
    return any(not outdated_facets(fingerprint, parse_facets(way)) for way in ways)
