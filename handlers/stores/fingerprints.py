"""The fingerprint that is stored with a document: how each facet of it was made."""

from collections.abc import Mapping
from typing import get_args

from handlers.stores.rows import Facet

_NAMES: dict[Facet, str] = {"vectors": "vectors", "terms": "terms", "facts": "graph"}
"""What fingerprints call the facets of passages."""
assert _NAMES.keys() == set(get_args(Facet))


def written(facets: Mapping[str, str]) -> str:
    """Facets as the fingerprint that is stored with a document."""
    return " ".join(f"{facet}={made}" for facet, made in sorted(facets.items()))


def parse_facets(fingerprint: str) -> dict[str, str]:
    """The facets that a stored fingerprint tells of."""
    pairs = (part.partition("=") for part in fingerprint.split())
    return {facet: made for facet, _, made in pairs if made}


def made_otherwise(stored: str, wanted: Mapping[str, str]) -> set[str]:
    """The wanted facets that a stored fingerprint tells to be made in another way, or not at all."""
    found = parse_facets(stored)
    return {facet for facet, made in wanted.items() if found.get(facet) != made}


def remade_facets(before: str, after: str) -> set[Facet]:
    """The facets of passages that the later of two fingerprints says to be made in another way than the earlier."""
    remade = made_otherwise(before, parse_facets(after))
    return {facet for facet, name in _NAMES.items() if name in remade}
