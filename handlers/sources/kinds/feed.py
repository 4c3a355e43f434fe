"""RSS and Atom feeds: each entry is a document, which stays in the index when the feed no longer shows it."""

from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from flows.errors import StorageError
from handlers.records import Fetched
from handlers.sources.extras import missing_extra
from handlers.sources.http import Http
from handlers.sources.in_hand import InHand, Item, in_pages
from handlers.sources.protocol import Page, Tools, not_listed
from handlers.sources.registry import source_kind


@source_kind("feed", "feed+http", "feed+https")
class Feed:
    """`feed+https://host/feed.xml`. A feed shows its newest entries only, so no entry counts as deleted."""

    def __init__(self, place: str, *, tools: Tools) -> None:
        self.root = self.canonical(place)
        self._url = self.root.removeprefix("feed+")
        self._http = Http(self._url, tools)
        self._in_hand = InHand(self.root, lambda: in_pages(self._entries()))

    @staticmethod
    def canonical(place: str) -> str:
        scheme, _, rest = place.partition("://")
        return f"{scheme.lower()}://{rest.rstrip('/')}"

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        yield from self._in_hand.pages(wanted)
        yield [not_listed(self.root, "a feed shows its newest entries only")]

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        return self._in_hand.fetch(uri, max_bytes=max_bytes)

    def _entries(self) -> Iterator[Item]:
        try:
            import feedparser
        except ImportError as error:
            raise missing_extra("feedparser", "feeds") from error
        answer = self._http.get(self._url)
        parsed: Any = feedparser.parse(answer.content, response_headers={"content-type": answer.mime_type})
        if not parsed.get("version"):
            raise StorageError(f"{self.root}: is not a feed ({parsed.get('bozo_exception') or 'no RSS or Atom'})")
        for entry in parsed.entries:
            yield self._item(entry)

    def _item(self, entry: Any) -> Item:
        title, link = str(entry.get("title") or ""), str(entry.get("link") or "")
        contents: list[Any] = list(entry.get("content") or [])
        body = str(contents[0]["value"]) if contents else str(entry.get("summary") or "")
        about = {"url": link, "authors": entry.get("author"), "created_at": entry.get("published")}
        facts = tuple((name, str(value)) for name, value in about.items() if value)
        page = f"<html><head><title>{escape(title)}</title></head><body><h1>{escape(title)}</h1>{body}</body></html>"
        key = str(entry.get("id") or link or title)
        return Item(key, page, "text/html", None, title, facts)

    def close(self) -> None:
        self._http.close()
