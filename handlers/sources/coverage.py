"""Finds the sources of an index that contain a document; sources may be nested, or differ only in their patterns."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from flows.storage import glob_filter, path_below
from handlers.extraction import split_member
from handlers.stores import SourceRecord


@dataclass(frozen=True)
class _Source:
    """A source with its globs, ready for use."""

    record: SourceRecord
    included: Callable[[str], bool]
    excluded: tuple[Callable[[str], bool], ...]

    def holds(self, uri: str) -> bool:
        name = path_below(self.record.uri, uri)
        if not self.record.is_folder or name is None:
            return uri == self.record.uri
        return self.included(name) and not any(matches(name) for matches in self.excluded)


class Coverage:
    """The sources of an index by place; URIs are canonical."""

    def __init__(self, records: Iterable[SourceRecord]) -> None:
        # Of sources with the same URI, `**/*` comes first, because a narrower pattern is more specific to its
        # documents.
        self.records = sorted(records, key=lambda each: (each.uri, each.pattern != "**/*", each.pattern))
        self._by_uri: dict[str, list[_Source]] = {}
        for record in self.records:
            globs = tuple(glob_filter(glob) for glob in record.exclude)
            self._by_uri.setdefault(record.uri, []).append(_Source(record, glob_filter(record.pattern), globs))

    def holding(self, uri: str) -> list[SourceRecord]:
        """The sources that contain a document, outermost first; a member belongs to its archive's sources."""
        uri = split_member(uri)[0]
        return [
            source.record
            for place in reversed(list(_places(uri)))
            for source in self._by_uri.get(place, ())
            if source.holds(uri)
        ]

    def outermost_folder(self, uri: str) -> str | None:
        """The outermost source folder that contains or equals this file or folder, regardless of patterns."""
        uri = split_member(uri)[0]
        folders = [
            place for place in _places(uri) if any(each.record.is_folder for each in self._by_uri.get(place, ()))
        ]
        return folders[-1] if folders else None

    def is_inner(self, root: str, uri: str) -> bool:
        """Whether a document below a source belongs to another source, whose folder lies inside that of the first."""
        return any(each.is_folder and path_below(root, each.uri) is not None for each in self.holding(uri))


def _places(uri: str) -> Iterator[str]:
    """The URI and its parent folders, up to the root of its storage."""
    scheme, separator, path = uri.partition("://")
    start = f"{scheme}{separator}"
    while path:
        yield f"{start}{path}"
        path = path.rpartition("/")[0]
    yield f"{start}/" if start == "file://" else start
