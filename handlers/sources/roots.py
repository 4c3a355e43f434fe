"""The roots of document names: a name begins at the outermost source that contains the document, with a label if
needed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from flows.storage import path_below
from handlers.extraction import MARK, split_member
from handlers.stores import SourceRecord


@dataclass(frozen=True)
class NameParts:
    """The parts of a document's name: alone, `path` is the name; after `label` and a slash, it is the longer one."""

    path: str
    label: str

    @property
    def longer(self) -> str:
        separator = "" if self.label.endswith("/") else "/"
        return f"{self.label}{separator}{self.path}"


class Roots:
    """The outermost folders among sources; the root of a single file is its own folder, unless another source contains
    it.

    The label of a root is the shortest end of its path that no other root has.
    """

    def __init__(self, records: Iterable[SourceRecord]) -> None:
        folders, files = set[str](), set[str]()
        for each in records:
            (folders if each.is_folder else files).add(each.uri)
        outermost = {uri for uri in folders if not any(path_below(other, uri) is not None for other in folders)}
        alone = {uri for uri in files if not any(path_below(root, uri) is not None for root in outermost)}
        self._files = {uri: uri.rpartition("/")[0] for uri in alone}
        self._folders = outermost
        self._labels = _labels(outermost | set(self._files.values()))

    def __len__(self) -> int:
        return len(self._labels)

    def parts(self, uri: str) -> NameParts | None:
        """The parts of the name of the document with this canonical URI; None if it lies in no source."""
        stored, path = split_member(uri)
        if path:
            parts = self.parts(stored)
            return None if parts is None else NameParts(MARK.join([parts.path, *path]), parts.label)
        if (folder := self._files.get(uri)) is not None:
            return NameParts(uri[len(folder) + 1 :], self._labels[folder])
        place = uri
        while "/" in place:
            place = place.rpartition("/")[0]
            for root in (place, f"{place}/"):  # `file:///` and `s3://bucket`
                if root in self._folders and (path := path_below(root, uri)) is not None:
                    return NameParts(path, self._labels[root])
        return None


def _labels(roots: Iterable[str]) -> dict[str, str]:
    """Short names of folders that differ from each other."""
    parts = {root: [part for part in root.partition("://")[2].split("/") if part] for root in roots}
    found: dict[str, str] = {}
    for root, own in parts.items():
        others = [each for other, each in parts.items() if other != root]
        length = next((n for n in range(1, len(own) + 1) if all(each[-n:] != own[-n:] for each in others)), None)
        found[root] = "/".join(own[-length:]) if length is not None else root
    return found
