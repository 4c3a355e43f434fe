"""Names of versions, and normal forms of terms, texts and entities, the same in every store."""

import re
import unicodedata
import zlib
from collections.abc import Iterable
from itertools import chain

import numpy as np

from flows.storage import canonical_uri
from handlers.records import Document, Entity, Relation, stable_id

_LONGEST_TERM = 200


def entity_key(name: str) -> str:
    """A key that is equal for spellings of an entity that differ in compatibility form, case, spacing or outer
    punctuation.
    """
    folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return re.sub(r"^[^\w#@$€£+]+|[^\w#+%]+$", "", folded) or folded


def count_facts(entities: Iterable[Entity], relations: Iterable[Relation]) -> int:
    """How many different mentions and relations these are, however their entities are spelled."""
    mentioned = {(each.chunk_id, entity_key(each.name), each.kind) for each in entities}
    related = {(each.chunk_id, entity_key(each.start), entity_key(each.end), each.kind) for each in relations}
    return len(mentioned) + len(related)


def spellings(name: str) -> list[str]:
    """The stored names or URIs that a person may mean by this name or URI."""
    return list(dict.fromkeys([name, unicodedata.normalize("NFC", name), canonical_uri(name)]))


def storable_text(text: str) -> str:
    """The text with NUL and lone surrogates, which databases refuse, each replaced by one character."""
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def vector_checksum(vector: np.ndarray, tokens: bytes = b"") -> int:
    """The checksum of a vector and of the packed vectors of its tokens, as they are stored.

    It distinguishes flipped bits from rounding differences between machines.
    """
    return zlib.crc32(tokens, zlib.crc32(np.ascontiguousarray(vector, dtype="<f4").tobytes()))


def stored_term(term: str) -> str:
    """The term, or its digest if it is too long for a database index (such as an encoded image in a text)."""
    return term if len(term) <= _LONGEST_TERM else f"{term[:32]}#{stable_id(term)}"


def staged_name(document: Document, fingerprint: str, run_id: str) -> str:
    """The name of the version that a run stages: the same when a step is tried again, different after an edit."""
    return f"{_made(document.content_sha256, fingerprint, document.tags)}-{run_id}"


def is_the_same(name: str, content_sha256: str, fingerprint: str, tags: Iterable[tuple[str, str]]) -> bool:
    """Whether the version of this name, by any run, has that content and those tags and was made in that way."""
    return name.startswith(f"{_made(content_sha256, fingerprint, tags)}-")


def _made(content_sha256: str, fingerprint: str, tags: Iterable[tuple[str, str]]) -> str:
    return stable_id(content_sha256, fingerprint, *chain.from_iterable(sorted(set(tags))))[:16]
