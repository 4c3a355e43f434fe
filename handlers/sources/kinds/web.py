"""Web pages of one host: those that its sitemap names, or that links lead to from the first one."""

import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit, urlunsplit
from urllib.robotparser import RobotFileParser

from flows.errors import MissingObject, StorageError, StorageUnusable, TransientError
from flows.storage import PassedOver
from handlers.extraction import WEB_PAGE, mime_type_of
from handlers.records import Fetched, stable_id
from handlers.sources.http import AGENT, Answer, Http
from handlers.sources.page_links import PageLinks, read_links, sitemap_entries
from handlers.sources.protocol import Listed, Page, Tools, not_listed
from handlers.sources.registry import source_kind

_PAGE = 20
_TRACKING = re.compile(r"utm_\w+|fbclid|gclid")


@source_kind("web", "http", "https")
class Web:
    """The pages at and below `https://host/path/`; an address whose last part has a suffix is that page alone.

    Pages are fetched from the sitemap (`sitemap`: its address, or `auto`, `never`), else by following links up to
    `depth` from the first page. `robots.txt` is obeyed unless `robots` is false; `per_second` is the pace.
    """

    def __init__(
        self,
        place: str,
        *,
        sitemap: str = "auto",
        depth: int = 5,
        most_pages: int = 10_000,
        per_second: float = 5.0,
        robots: bool = True,
        main_text: bool = True,
        tools: Tools,
    ) -> None:
        self.root = self.canonical(place)
        self._sitemap, self._depth, self._most = sitemap, depth, most_pages
        self._main_text, self._robots_wanted = main_text, robots
        self._http = Http(self.root, tools, per_second=per_second)
        self._host = "{0.scheme}://{0.netloc}".format(urlsplit(self.root))
        self._tokens: dict[str, str | None] = {}
        """By URI, as they were listed."""

    @staticmethod
    def canonical(place: str) -> str:
        return address(place).removesuffix("/index.html")

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        robots = self._read_robots()
        found = self._from_sitemap(robots)
        yield from self._crawled(robots) if found is None else found

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        answer = self._get(uri, max_bytes)
        return Fetched(answer.content, (("url", answer.url),), token=self._tokens.get(uri, _token(answer)))

    def _get(self, uri: str, max_bytes: int | None = None) -> Answer:
        """The page of a URI; one whose address ends with a slash has the URI of its `index.html`."""
        folder = uri.removesuffix("index.html") if uri.endswith("/index.html") else ""
        try:
            return self._http.get(folder or uri, most_bytes=max_bytes)
        except MissingObject:
            if not folder:
                raise
            return self._http.get(uri, most_bytes=max_bytes)

    def _read_robots(self) -> RobotFileParser:
        robots = RobotFileParser()
        robots.parse([])  # without rules, everything is allowed
        if self._robots_wanted:
            with suppress(MissingObject, StorageUnusable):
                rules = self._http.get(f"{self._host}/robots.txt").content.decode("utf-8", "replace")
                robots.parse(rules.splitlines())
        return robots

    def _from_sitemap(self, robots: RobotFileParser) -> Iterator[Page] | None:
        if self._sitemap == "never" or self._is_single():
            return None
        named = [f"{self._host}/sitemap.xml"] if self._sitemap == "auto" else [self._sitemap]
        try:
            entries = dict(sitemap_entries(robots.site_maps() or named, lambda url: self._http.get(url).content))
        except MissingObject:
            if self._sitemap != "auto":
                raise
            return None
        below = {uri: changed for url, changed in entries.items() if self._is_below(uri := address(url))}
        return self._listed(below, robots) if below else None

    def _listed(self, entries: dict[str, str | None], robots: RobotFileParser) -> Iterator[Page]:
        uris = sorted(entries)
        for start in range(0, len(uris), _PAGE):
            page: list[Listed | PassedOver] = []
            for uri in uris[start : start + _PAGE]:
                if not robots.can_fetch(AGENT, uri):
                    page.append(PassedOver(uri, self._name(uri), "robots", "robots.txt does not allow it"))
                elif (changed := entries[uri]) is not None:
                    page.append(self._item(uri, f"changed {changed}", ""))
                else:
                    try:
                        answer = self._get(uri)
                    except MissingObject:
                        continue
                    page.append(self._item(uri, _token(answer), answer.mime_type))
            yield page

    def _crawled(self, robots: RobotFileParser) -> Iterator[Page]:
        first = self.root if self._is_single() else f"{self.root}/index.html"
        waiting, seen, listed = deque([(first, 0)]), {first}, set[str]()
        while waiting:
            uri, depth = waiting.popleft()
            if len(listed) >= self._most:
                yield [not_listed(self.root, f"it has more than {self._most} pages (most_pages)")]
                return
            if not robots.can_fetch(AGENT, uri):
                yield [PassedOver(uri, self._name(uri), "robots", "robots.txt does not allow it")]
                continue
            try:
                answer = self._get(uri)
            except MissingObject:
                if uri == first:
                    raise
                continue
            except (TransientError, StorageUnusable):
                raise
            except StorageError as error:
                yield [not_listed(self.root, str(error))]
                continue
            links = read_links(answer.content) if "html" in answer.mime_type else PageLinks()
            own = address(urljoin(answer.url, links.canonical or answer.url))
            own = own if self._is_below(own) else uri
            if own not in listed and self._is_below(own) and not links.no_index:
                listed.add(own)
                yield [self._item(own, _token(answer), answer.mime_type)]
            if depth < self._depth and not links.no_follow and not self._is_single():
                for link in links.links:
                    target = address(urljoin(urljoin(answer.url, links.base), link))
                    if target not in seen and self._is_below(target):
                        seen.add(target)
                        waiting.append((target, depth + 1))

    def _item(self, uri: str, token: str | None, mime_type: str) -> Listed:
        self._tokens[uri] = token
        is_page = "html" in mime_type or (mime_type_of(uri) in (None, "text/html") and not mime_type)
        mime = (WEB_PAGE if self._main_text else "text/html") if is_page else "" if mime_type_of(uri) else mime_type
        return Listed(uri, self._name(uri), token, mime_type=mime)

    def _name(self, uri: str) -> str:
        return unquote(uri.removeprefix(f"{self.root}/")) if uri != self.root else self.root.rpartition("/")[2]

    def _is_single(self) -> bool:
        return "." in urlsplit(self.root).path.rpartition("/")[2]

    def _is_below(self, uri: str) -> bool:
        return uri == self.root if self._is_single() else uri.startswith(f"{self.root}/")

    def close(self) -> None:
        self._http.close()


def _token(answer: Answer) -> str:
    return answer.validator or stable_id(answer.content.decode("latin-1"))


def address(url: str) -> str:
    """The one spelling of a page's address: no fragment, no port that goes without saying, no marks of campaigns."""
    parts = urlsplit(url)
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    path = quote(unquote(parts.path or "/"), safe="/-._~!$&'()*+,;=:@")
    path = f"{path}index.html" if path.endswith("/") else path
    query = urlencode(
        [each for each in parse_qsl(parts.query, keep_blank_values=True) if not _TRACKING.fullmatch(each[0])]
    )
    return urlunsplit((parts.scheme.lower(), f"{(parts.hostname or '').lower()}{port}", path, query, ""))
