"""The links of web pages and sitemaps, parsed in pure Python, since pages are untrusted."""

import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit
from xml.etree import ElementTree

from flows.errors import StorageError
from handlers.markup import TolerantHTMLParser

_MOST_MAPS = 1000
_TRACKING = re.compile(r"utm_\w+|fbclid|gclid")
_DOCTYPE = re.compile(rb"<!DOCTYPE|<!ENTITY", re.IGNORECASE)


@dataclass
class PageLinks:
    """The links of a page, and its instructions for crawlers."""

    links: list[str] = field(default_factory=list[str])
    canonical: str = ""
    base: str = ""
    no_index: bool = False
    no_follow: bool = False


class _Reader(TolerantHTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found = PageLinks()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        rel = values.get("rel", "").lower().split()
        if tag == "a" and values.get("href") and "nofollow" not in rel:
            self.found.links.append(values["href"].strip())
        elif tag == "base" and values.get("href"):
            self.found.base = self.found.base or values["href"]
        elif tag == "link" and "canonical" in rel and values.get("href"):
            self.found.canonical = self.found.canonical or values["href"]
        elif tag == "meta" and values.get("name", "").lower() == "robots":
            content = values.get("content", "").lower()
            self.found.no_index |= "noindex" in content or "none" in content
            self.found.no_follow |= "nofollow" in content or "none" in content


def read_links(page: bytes) -> PageLinks:
    """The links of an HTML page."""
    reader = _Reader()
    reader.feed(page.decode("utf-8", "replace"))
    found = reader.found
    found.links = [each for each in found.links if re.match(r"https?:|[^:]*$|[^:]*[/?#]", each)]
    return found


def sitemap_entries(addresses: Iterable[str], get: Callable[[str], bytes]) -> Iterator[tuple[str, str | None]]:
    """The addresses in sitemaps, and in those that they name, each with its last change if that is known.

    Raises:
        StorageError: one of them is not a sitemap.
    """
    waiting, seen = list(addresses), set[str]()
    while waiting and len(seen) < _MOST_MAPS:
        url = waiting.pop(0)
        if url in seen:
            continue
        seen.add(url)
        content = get(url)
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        try:
            if _DOCTYPE.search(content[:4096]):
                raise StorageError(f"{url}: is not a sitemap, since it declares entities")
            tree = ElementTree.fromstring(content)
        except ElementTree.ParseError as error:
            raise StorageError(f"{url}: is not a sitemap: {error}") from error
        for entry in tree:
            values = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in entry}
            if not values.get("loc"):
                continue
            if entry.tag.endswith("sitemap"):
                waiting.append(values["loc"])
            else:
                yield values["loc"], values.get("lastmod") or None


def address(url: str) -> str:
    """The canonical spelling of a page's address: without fragment, default port and campaign parameters."""
    parts = urlsplit(url)
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    path = quote(unquote(parts.path or "/"), safe="/-._~!$&'()*+,;=:@")
    path = f"{path}index.html" if path.endswith("/") else path
    query = urlencode(
        [each for each in parse_qsl(parts.query, keep_blank_values=True) if not _TRACKING.fullmatch(each[0])]
    )
    return urlunsplit((parts.scheme.lower(), f"{(parts.hostname or '').lower()}{port}", path, query, ""))
