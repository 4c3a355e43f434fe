"""Canonical URIs: one spelling per file or object, which identifies a document."""

import unicodedata
from contextlib import suppress

from flows.errors import StorageError
from flows.storage.locations import OTHER_SCHEMES, parse_url

_SCHEMES = {"file", "memory", "s3", "s3a", *OTHER_SCHEMES}


def canonical_uri(uri: str) -> str:
    """The canonical spelling of a URI; it identifies a file, but may differ from the URI that opens it.

    The scheme is lower case (`s3a` is `s3`), a path is absolute, without `.`, `..` and doubled slashes, and the whole
    is in Unicode normal form C: a file whose name was decomposed by another system stays the same document. Case stays
    as the store has it. Symbolic links stay, so that documents below a link keep their ids when the link is pointed to
    another folder. A text that is not a URI is returned unchanged.
    """
    if "://" in uri and not _is_plain(uri) and uri.partition("://")[0].lower() in _SCHEMES:
        with suppress(StorageError):
            uri = parse_url(uri).uri
    return uri if uri.isascii() else unicodedata.normalize("NFC", uri)


def _is_plain(uri: str) -> bool:
    """Whether a URI is certainly canonical already; true for most, and ten times as fast as parsing."""
    if uri.endswith("/"):
        return False
    return uri.startswith("s3://") or (uri.startswith("file:///") and "//" not in uri[7:] and "/." not in uri)


def path_below(root: str, uri: str) -> str | None:
    """The path of a canonical URI below a canonical root, with `/`; None if it is not below the root."""
    prefix = root if root.endswith("/") else f"{root}/"
    return uri[len(prefix) :] if uri.startswith(prefix) and len(uri) > len(prefix) else None
