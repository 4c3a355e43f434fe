"""Compares documents of the index with their files, and decides on the work that each needs."""

from dataclasses import dataclass, field

from flows.author import Call
from flows.errors import StorageError
from flows.state import Spool
from handlers.extraction import Unreadable, hash_source
from handlers.ingestion.facets import DOCUMENTS, stale_facets, wanted_facets
from handlers.records import SourceFile
from handlers.stores import DocumentState, Restatement
from handlers.tags import encoding_in


@dataclass
class Comparison:
    """Sorts files by the work that they need: processed, refreshed, unchanged or quarantined."""

    call: Call
    redo: set[str]
    force: bool
    retry_failed: bool
    process: Spool[SourceFile] = field(default_factory=lambda: Spool(key=_name))
    refresh: Spool[SourceFile] = field(default_factory=lambda: Spool(key=_name))
    stale: set[str] = field(default_factory=set[str])
    restate: Spool[Restatement] = field(default_factory=Spool[Restatement])
    unchanged: int = 0
    """Documents whose stored content stays, even if their tags, place or name change."""
    quarantined: int = 0
    changed: int = 0
    """Documents to be processed that have an earlier version in the index."""

    def __post_init__(self) -> None:
        self.wanted = wanted_facets(self.call)

    def compare(self, state: DocumentState, source: SourceFile) -> None:
        """Sort a file whose document is in the index."""
        if self.force or state.status == "pending":
            self._process(state, source)
        elif state.status == "failed":
            if self.retry_failed or state.tried != attempt_key(source, self.call):
                self._process(state, source)
            else:
                self.quarantined += 1
        elif encoding_in(state.tags) != encoding_in(source.tags) or not self.is_unchanged(state, source):
            self._process(state, source)
        elif self._keep(state, source) and (
            (state.uri, state.revision, state.tags) != (source.uri, source.revision, source.tags)
        ):
            tags = source.tags if source.tags != state.tags else None
            self.restate.add(Restatement(state.id, source.uri, source.revision, tags=tags))

    def take_over(self, state: DocumentState, source: SourceFile, *, is_whole: bool) -> None:
        """Sort a file to which a document moves; a document that is not complete must be read again."""
        if self.force or not is_whole:
            self._process(state, source)
        else:
            self._keep(state, source)

    def _process(self, state: DocumentState, source: SourceFile) -> None:
        self.process.add(source)
        self.changed += bool(state.content_sha256)

    def _keep(self, state: DocumentState, source: SourceFile) -> bool:
        """Whether a document with unchanged content is kept, instead of being remade in whole or in part."""
        stale = stale_facets(state.fingerprint, self.wanted, self.redo)
        if DOCUMENTS in stale:
            self._process(state, source)
        elif stale:
            self.refresh.add(source)
            self.stale |= stale
        else:
            self.unchanged += 1
        return not stale

    def is_unchanged(self, state: DocumentState, source: SourceFile) -> bool:
        """Whether a file has the content of the searchable document; the file is read only if its listing leaves this
        open.
        """
        if source.certain and state.revision == source.revision:
            return True
        if source.etag is not None and f":{source.etag}:" not in state.revision:
            return False  # known without downloading it
        return self.digest(source) == state.content_sha256

    def digest(self, source: SourceFile) -> str:
        """The hash of the content; empty if it cannot be read now."""
        try:
            return hash_source(source.uri, self.call, source=source.source)
        except (StorageError, Unreadable) as error:
            self.call.logger.warning("%s: cannot be read (%s)", source.name, error)
            return ""


def attempt_key(source: SourceFile, call: Call) -> str:
    """The revision of a source and the way it is read; a failed document is tried again only if one of them changes."""
    encoding = encoding_in(source.tags)
    return f"{source.revision} {wanted_facets(call).get(DOCUMENTS, '')}{f' {encoding}' if encoding else ''}"


def _name(source: SourceFile) -> str:
    return source.name
