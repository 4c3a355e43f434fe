"""Files and objects by URL: folders, memory, S3 and every other storage that fsspec knows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from flows.state import chunked
from flows.storage import PassedOver, Storage, canonical_uri
from handlers.records import Fetched
from handlers.sources.protocol import Listed, Page, Tools
from handlers.sources.registry import source_kind
from handlers.sources.sidecars import SIDECARS

FILES = "files"
_PAGE = 100


@source_kind(FILES)
class Files:
    """The files below a folder or prefix, or a single file. `options` are those of the storage, as fsspec names them.

    Values of `options`, also of mappings in them, may be references to secrets, as env:NAME.
    """

    def __init__(self, place: str, *, options: Mapping[str, Any] | None = None, tools: Tools) -> None:
        self.root = self.canonical(place)
        self._place, self.storage = place, tools.storage
        known, scheme = tools.storage.options, self.root.partition("://")[0]
        given = {**known.by_scheme.get(scheme, {}), **(options or {})}
        if given:
            own = {name: _resolved(value, tools) for name, value in given.items()}
            self.storage = Storage(replace(known, by_scheme={**known.by_scheme, scheme: own}))

    @staticmethod
    def canonical(place: str) -> str:
        return canonical_uri(Storage.join(place))

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        found = self.storage.survey(self._place, accepts=wanted, including=SIDECARS)
        for some in chunked(found, _PAGE):
            yield [
                each
                if isinstance(each, PassedOver)
                else Listed(each.uri, each.name, each.etag, each.size, each.modified)
                for each in some
            ]

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        return Fetched(self.storage.read(uri, max_bytes=max_bytes))


def _resolved(value: Any, tools: Tools) -> Any:
    match value:
        case str() if tools.secrets.is_reference(value):
            return tools.secrets(value)
        case dict():
            return {name: _resolved(each, tools) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value
