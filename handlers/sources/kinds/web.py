"""Web pages of one host: those that its sitemap names, or that links lead to from the first one."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

from flows.errors import MissingObject
from flows.storage import PassedOver
from handlers.extraction import WEB_PAGE, mime_type_of
from handlers.records import Fetched
from handlers.sources.crawling import Crawl, name_below, no_robots, not_allowed, read_robots
from handlers.sources.http import AGENT, Http
from handlers.sources.page_links import address, sitemap_entries
from handlers.sources.protocol import Listed, Page, Tools
from handlers.sources.registry import source_kind
from handlers.sources.visits import Visits, get_page, token_of

_PAGE = 20


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
        self._is_single = "." in urlsplit(self.root).path.rpartition("/")[2]
        self._cache = tools.cache
        self._tokens: dict[str, str | None] = {}
        """By URI, as they were listed."""

    @staticmethod
    def canonical(place: str) -> str:
        return address(place).removesuffix("/index.html")

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        robots = read_robots(self._http, self._host) if self._robots_wanted else no_robots()
        visits = Visits(self._http, self.root, self._cache)
        found = self._from_sitemap(robots, visits)
        yield from self._crawled(robots, visits) if found is None else found
        visits.keep()

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        answer = get_page(self._http, uri, most_bytes=max_bytes)
        assert answer is not None  # never None, since the request had no condition
        return Fetched(answer.content, (("url", answer.url),), token=self._tokens.get(uri, token_of(answer)))

    def _from_sitemap(self, robots: RobotFileParser, visits: Visits) -> Iterator[Page] | None:
        if self._sitemap == "never" or self._is_single:
            return None
        named = [f"{self._host}/sitemap.xml"] if self._sitemap == "auto" else [self._sitemap]
        try:
            entries = dict(sitemap_entries(robots.site_maps() or named, lambda url: self._http.get(url).content))
        except MissingObject:
            if self._sitemap != "auto":
                raise
            return None
        below = {uri: changed for url, changed in entries.items() if self._is_below(uri := address(url))}
        return self._listed(below, robots, visits) if below else None

    def _listed(self, entries: dict[str, str | None], robots: RobotFileParser, visits: Visits) -> Iterator[Page]:
        uris = sorted(entries)
        for start in range(0, len(uris), _PAGE):
            some = uris[start : start + _PAGE]
            yield [each for uri in some for each in self._entry(uri, entries[uri], robots, visits)]

    def _entry(
        self, uri: str, changed: str | None, robots: RobotFileParser, visits: Visits
    ) -> Iterator[Listed | PassedOver]:
        if not robots.can_fetch(AGENT, uri):
            yield not_allowed(self.root, uri)
        elif changed is not None:
            yield self._item(uri, f"changed {changed}", "")
        else:
            with suppress(MissingObject):
                seen = visits.visit(uri)
                yield self._item(uri, seen.token, seen.mime_type)

    def _crawled(self, robots: RobotFileParser, visits: Visits) -> Iterator[Page]:
        first = self.root if self._is_single else f"{self.root}/index.html"
        depth = 0 if self._is_single else self._depth
        crawl = Crawl(self.root, depth, self._most, lambda uri: robots.can_fetch(AGENT, uri), self._is_below)
        for found in crawl.follow(first, visits):
            yield [found if isinstance(found, PassedOver) else self._item(found[0], found[1].token, found[1].mime_type)]

    def _item(self, uri: str, token: str | None, mime_type: str) -> Listed:
        self._tokens[uri] = token
        is_page = "html" in mime_type or (mime_type_of(uri) in (None, "text/html") and not mime_type)
        mime = (WEB_PAGE if self._main_text else "text/html") if is_page else "" if mime_type_of(uri) else mime_type
        return Listed(uri, name_below(self.root, uri), token, mime_type=mime)

    def _is_below(self, uri: str) -> bool:
        return uri == self.root if self._is_single else uri.startswith(f"{self.root}/")

    def close(self) -> None:
        self._http.close()
