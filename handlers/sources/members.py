"""The contents of archives and mails, as files of their source; an unchanged container is not opened again. In the
index, the revision of a container includes the number of its listed members and the rules. While the container and the
rules stay the same, its members are taken from the index.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import cast

from flows.author import Call
from flows.errors import StorageError
from flows.state import TemporaryRows, sortable
from handlers.extraction import LIMITS, MARK, Member, Unreadable, container_kind, list_members, split_member
from handlers.records import LeftOut, SourceFile, stable_id
from handlers.sources.opening import sources_of
from handlers.stores import DocumentState, IndexStore

_PAGE = 500
_REVISION = re.compile(r"(~?)(\d+):(.*):([^:]*)")
_COUNTED = re.compile(r"(.*)\+(\d+)-([0-9a-f]{6})")


@dataclass(frozen=True)
class KnownContents:
    """The members of a container in the index, and the objects inside it that are left out."""

    container: SourceFile
    members: list[SourceFile]
    left_out: list[LeftOut]


@dataclass
class Containers:
    """The archives and mails of one source; `rules` identify everything that decides which members are listed."""

    call: Call
    root: str
    pattern: str
    rules: str
    _known: "_KnownMembers | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.rules = stable_id(self.rules)[:6]

    def may_open(self, file: SourceFile) -> bool:
        """Whether a file is a container that does not lie too deep inside others."""
        return container_kind(file.name) is not None and len(split_member(file.uri)[1]) < LIMITS.depth

    def members(self, file: SourceFile) -> list[Member] | None:
        """The members of a container; None if it cannot be opened (its own document reports the reason)."""
        try:
            return list_members(file.uri, self.call, source=file.source)
        except (Unreadable, StorageError) as error:
            self.call.logger.warning("%s: cannot be opened: %s", file.name, error)
            return None

    def counted(self, file: SourceFile, members: int) -> SourceFile:
        """The container with the number of its listed members in its revision."""
        return replace(file, etag=f"{file.etag or ''}+{members}-{self.rules}")

    def recalled(self, file: SourceFile) -> KnownContents | None:
        """The members of a container that has not changed; None if it has to be opened."""
        known = self._known_members()
        counted = _COUNTED.fullmatch(_etag_of(known.revision(file.uri)))
        if not counted or not file.certain:
            return None
        container = self.counted(file, int(counted[2]))
        members = self.as_known(file)
        same = container.revision == known.revision(file.uri)
        return (
            KnownContents(container, members, known.left_out(file))
            if same and len(members) == int(counted[2])
            else None
        )

    def as_known(self, file: SourceFile) -> list[SourceFile]:
        """The members of a container that the index knows."""
        return self._known_members().members(file)

    def _known_members(self) -> "_KnownMembers":
        if self._known is None:
            there = "index_store" in self.call.services
            store: IndexStore | None = self.call.services["index_store"] if there else None
            self._known = _KnownMembers(store, self.root, self.pattern)
        return self._known


class _KnownMembers:
    """Revisions of containers and their members, and the members left out, in tables on disk."""

    def __init__(self, store: IndexStore | None, root: str, pattern: str) -> None:
        self._rows = TemporaryRows()
        self._rows.ask("CREATE TABLE known (uri BLOB PRIMARY KEY, revision TEXT)")
        self._rows.ask("CREATE TABLE out (uri BLOB PRIMARY KEY, rule TEXT, reason TEXT)")
        if store is None:
            return
        for page in _pages(store):
            some = [each for each in page if MARK in each.uri or container_kind(each.uri) is not None]
            rows = [(sortable(each.uri), _revision_of(each)) for each in some]
            self._rows.tell("INSERT OR REPLACE INTO known VALUES (?, ?)", rows)
        offset = 0
        while found := store.left_out(root, pattern, limit=_PAGE, offset=offset):
            rows = [(sortable(each.uri), each.rule, each.reason) for each in found if MARK in each.uri]
            self._rows.tell("INSERT OR REPLACE INTO out VALUES (?, ?, ?)", rows)
            offset += len(found)

    def revision(self, uri: str) -> str:
        rows = self._rows.ask("SELECT revision FROM known WHERE uri = ?", [sortable(uri)])
        return str(rows[0][0]) if rows else ""

    def members(self, container: SourceFile) -> list[SourceFile]:
        """The members whose revision is known."""
        found: list[SourceFile] = []
        for uri, revision in self._below("SELECT uri, revision FROM known", container.uri):
            parts = _REVISION.fullmatch(str(revision))
            if parts:
                name = container.name + uri[len(container.uri) :]
                modified = None if parts[4] == "None" else float(parts[4])
                found.append(SourceFile(uri, name, int(parts[2]), modified, parts[3] or None, certain=not parts[1]))
        return found

    def left_out(self, container: SourceFile) -> list[LeftOut]:
        rows = self._below("SELECT uri, rule, reason FROM out", container.uri)
        return [
            LeftOut(uri, container.name + uri[len(container.uri) :], str(rule), str(reason))
            for uri, rule, reason in rows
        ]

    def _below(self, select: str, container: str) -> list[tuple[str, ...]]:
        start = sortable(f"{container}{MARK}")
        rows = self._rows.ask(f"{select} WHERE uri >= ? AND uri < ? ORDER BY uri", [start, start + b"\xff"])
        return [(cast("bytes", row[0]).decode("utf-8", "surrogatepass"), *map(str, row[1:])) for row in rows]


def is_as_listed(source: SourceFile, call: Call) -> bool:
    """Whether a file (possibly inside a container) is unchanged since it was listed."""
    sources = sources_of(call)
    storage = sources.storage_of(source.uri, source=source.source)
    try:
        if storage is None and not split_member(source.uri)[1]:
            token = sources.fetch(source.uri, source=source.source).token
            return token is not None and stable_id(token) == source.etag
        if split_member(source.uri)[1]:
            container, _, name = source.uri.rpartition(MARK)
            found = next(
                (each for each in list_members(container, call, source=source.source) if each.name == name), None
            )
            now = (found.size, found.mark, found.modified) if found is not None else None
        else:
            assert storage is not None, "it is a file"
            stored = next(iter(storage.list(source.uri)), None)
            now = (stored.size, stored.etag, stored.modified) if stored is not None else None
    except (StorageError, Unreadable):
        return False
    counted = _COUNTED.fullmatch(source.etag or "") if container_kind(source.name) is not None else None
    return now == (source.size, (counted[1] or None) if counted else source.etag, source.modified)


def _etag_of(revision: str) -> str:
    parts = _REVISION.fullmatch(revision)
    return parts[3] if parts else ""


def _revision_of(state: DocumentState) -> str:
    """The revision of the file at the last attempt to read it; empty if it must be tried again."""
    if state.status == "failed":
        return state.tried.rpartition(" ")[0]
    return state.revision if state.status == "processed" else ""


def _pages(store: IndexStore) -> Iterator[list[DocumentState]]:
    after = ""
    while page := store.document_states(after=after, limit=_PAGE):
        yield page
        after = page[-1].id
