"""The service `sources`: the sources of a run, opened once each, by their places and by the URIs of their documents."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.author import Call
from flows.storage import Storage, canonical_uri, path_below
from handlers.records import Fetched
from handlers.sources.kinds import FILES, Files
from handlers.sources.protocol import Source, Tools
from handlers.sources.registry import kind_named, kind_of


@dataclass(frozen=True)
class SourceOptions:
    """The options of a source that the operator has described, by kind."""

    kind: str
    place: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def root(self) -> str:
        return kind_named(self.kind).canonical(self.place)


class Sources:
    """Opens sources: those in `described` with their options, all others with the defaults."""

    def __init__(self, tools: Tools | None = None, described: Iterable[SourceOptions] = ()) -> None:
        self.tools = tools or Tools()
        self._described = {each.root: each for each in described}
        self._open: dict[str, Source] = {}
        self._lock = threading.RLock()

    def at(self, place: str) -> Source:
        """The source at a place.

        Raises:
            StorageError: no kind is for it, or it cannot be opened.
            UnusableOption: its options cannot be used.
        """
        kind = kind_of(place)
        root = kind.canonical(place)
        with self._lock:
            if root not in self._open:
                known = self._described.get(root)
                if known is not None:
                    self._open[root] = kind_named(known.kind).open(known.place, known.options, self.tools)
                else:
                    self._open[root] = kind.open(place, {}, self.tools)
            return self._open[root]

    def anew(self) -> "Sources":
        """The same sources, all closed, since earlier listings may be outdated."""
        return Sources(self.tools, self._described.values())

    def fetch(self, uri: str, *, source: str = "", max_bytes: int | None = None) -> Fetched:
        """A document's content; `source` is the root of its source, if that is known.

        Raises:
            StorageError, TransientError: see `Source`.
        """
        return self._of(uri, source).fetch(uri, max_bytes=max_bytes)

    def storage_of(self, uri: str, *, source: str = "") -> Storage | None:
        """The storage of a document that is a file; None if its source is of another kind."""
        if not self.is_stored(uri):
            return None
        found = self._of(uri, source)
        return found.storage if isinstance(found, Files) else None

    def is_stored(self, uri: str) -> bool:
        """Whether a document is a file or an object by URL, which can be opened as a stream."""
        return kind_of(uri).name == FILES

    def _of(self, uri: str, source: str) -> Source:
        if source:
            return self.at(source)
        stored = self.is_stored(uri)
        with self._lock:
            # Among sources of files, only those with their own options need to be distinguished.
            known = list(self._described) if stored else [*self._open, *self._described]
        uri = canonical_uri(uri)
        holding = [root for root in known if uri == root or path_below(root, uri) is not None]
        if holding:
            return self.at(max(holding, key=len))
        return self.at("/") if stored else self.at(uri)

    def close(self) -> None:
        with self._lock:
            for each in self._open.values():
                close = getattr(each, "close", None)
                if close is not None:
                    close()
            self._open = {}


def sources_of(call: Call) -> Sources:
    """The sources of a call's run; without the service, those that need nothing but storage."""
    if "sources" in call.services:
        return call.services["sources"]
    storage: Storage = call.services["storage"]
    return Sources(Tools(storage))
