"""Sources whose listing brings the contents along: rows, answers of an API, entries of a feed."""

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
    """A document with its content, as a listing brings it."""

    key: str
    """Its name in its source, the same in every listing."""
    content: str
    mime_type: str = "text/markdown"
    changed: str | None = None
    """A value that differs whenever the content does; without one, the content decides."""
    title: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    tags: Mapping[str, Any] | None = None


class InHand:
    """Lists items and keeps their contents on disk, from where they are fetched; another process lists again.

    `items` yields pages of items; other objects in them are passed on as they are.
    """

    def __init__(self, root: str, items: Callable[[], Iterator[list[Any]]]) -> None:
        self.root, self._items = root, items
        self._kept: TemporaryRows | None = None
        self._listing = threading.Lock()  # of several threads that fetch, one lists

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
                # A name such as `..` is a name, not a way out.
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
    """Which values of a row or an object become what of its document."""

    key: str
    changed: str | None = None
    title: str | None = None
    text: str | None = None
    """The value that is the text; without it, all values are laid out."""
    tags: Mapping[str, str] | None = None
    """By tag, the name of the value that holds it."""

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
