"""Sources whose listing already contains the documents: rows, answers of an API, entries of a feed."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from flows.errors import MissingObject, StorageError
from flows.state import TemporaryRows, sortable
from handlers.records import Fetched, stable_id
from handlers.sources.protocol import Listed, Page

_PAGE = 500


@dataclass(frozen=True)
class Item:
    """A document with its content, from a listing."""

    key: str
    """Its name in its source, the same in every listing."""
    content: str
    mime_type: str = "text/markdown"
    changed: str | None = None
    """A value that changes whenever the content changes; without one, the content is compared."""
    title: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    tags: Mapping[str, Any] | None = None


class InHand:
    """Lists items and keeps their contents on disk, from which `fetch` reads; another process must list again.

    `items` yields pages of items; other objects in the pages are passed on unchanged.
    """

    def __init__(self, root: str, items: Callable[[], Iterator[list[Any]]]) -> None:
        self.root, self._items = root, items
        self._kept: TemporaryRows | None = None
        self._listing = threading.Lock()  # if several threads fetch, only one lists

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        kept = TemporaryRows()
        kept.ask("CREATE TABLE items (uri BLOB PRIMARY KEY, item TEXT)")
        for some in self._items():
            page: list[Any] = []
            for each in some:
                if not isinstance(each, Item):
                    page.append(each)
                    continue
                name = quote(each.key, safe=" ,;=+@()!&$'~^-_.:")
                uri = f"{self.root}/{name}"
                # Escaped, so that a name such as `..` cannot lead out of the folder.
                if name.strip(".") == "":
                    uri = f"{self.root}/{name.replace('.', '%2E')}"
                token = _token(each)
                values = [each.content, each.title, list(each.metadata), token]
                kept.tell("INSERT OR REPLACE INTO items VALUES (?, ?)", [(sortable(uri), json.dumps(values))])
                size = len(each.content.encode("utf-8", "replace"))
                page.append(Listed(uri, name, token, size, None, each.mime_type, each.tags or {}))
            yield page
        self._kept = kept

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        with self._listing:
            if self._kept is None:
                for _ in self.pages(bool):
                    pass
        rows = self._kept.ask("SELECT item FROM items WHERE uri = ?", [sortable(uri)]) if self._kept else []
        if not rows:
            raise MissingObject(f"{uri}: is no longer there")
        content, title, metadata, token = json.loads(cast("str", rows[0][0]))
        data = content.encode("utf-8", "replace")
        if max_bytes is not None and len(data) > max_bytes:
            raise StorageError(f"{uri}: is longer than the {max_bytes} bytes allowed here")
        return Fetched(data, tuple((name, value) for name, value in metadata), title, token)


def _token(item: Item) -> str:
    if item.changed is not None:
        return f"changed {item.changed}"
    return stable_id(item.content, item.title, repr(item.metadata))


@dataclass(frozen=True)
class Shape:
    """Maps the values of a row or object to the parts of a document."""

    key: str
    changed: str | None = None
    title: str | None = None
    text: str | None = None
    """The value for the text; without it, the text lists all values."""
    tags: Mapping[str, str] | None = None
    """The name of the value for each tag."""

    def item(self, values: Mapping[str, Any]) -> Item:
        """The document of these values.

        Raises:
            StorageError: it has no key.
        """
        if values.get(self.key) in (None, ""):
            raise StorageError(f"an item has no {self.key!r}, which is its key; it has {', '.join(values)}")
        title = _text(values.get(self.title)) if self.title else ""
        rest = {name: value for name, value in values.items() if value is not None and name != self.title}
        if self.text:
            body, metadata = _text(values.get(self.text)), {k: v for k, v in rest.items() if k != self.text}
        else:
            body, metadata = "\n\n".join(f"{name}: {_text(value)}" for name, value in rest.items()), rest
        facts = tuple((name, _text(value)) for name, value in metadata.items() if not isinstance(value, (dict, list)))
        tags = {tag: _tag(values[name]) for tag, name in (self.tags or {}).items() if values.get(name) is not None}
        changed = _text(values[self.changed]) if self.changed and values.get(self.changed) is not None else None
        content = f"# {title}\n\n{body}\n" if title else f"{body}\n"
        return Item(_text(values[self.key]), content, "text/markdown", changed, title, facts, tags)


def in_pages(items: Iterator[Any]) -> Iterator[list[Any]]:
    """The items in lists."""
    from flows.state import chunked

    return (list(some) for some in chunked(items, _PAGE))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, indent=1) if isinstance(value, (dict, list)) else str(value)


def _tag(value: Any) -> Any:
    return [str(each) for each in cast("list[Any]", value)] if isinstance(value, list) else str(value)
