"""Objects of a REST API: each one that a JSONPath selects from its answers is a document."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flows.errors import StorageError, StorageUnusable
from handlers.data import Auth, BadQuery, Pagination, Rest, RestRequest, rest_pages
from handlers.records import Fetched
from handlers.sources.http import MOST_BYTES
from handlers.sources.in_hand import InHand, Shape
from handlers.sources.protocol import Page, Tools
from handlers.sources.registry import source_kind

_TIMEOUT_S = 600.0


@source_kind("rest", "rest+http", "rest+https")
class RestObjects:
    """`rest+https://host/api/articles`. `select`, `pagination` and `auth` are those of the step `query`.

    `key` names the value that identifies an object, `changed` a value that changes whenever the object changes. `title`
    and `text` name the values for the document's title and text, `tags` maps tags to values.
    """

    def __init__(
        self,
        place: str,
        *,
        key: str,
        select: str | None = None,
        pagination: Pagination | None = None,
        auth: Auth | None = None,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        changed: str | None = None,
        title: str | None = None,
        text: str | None = None,
        tags: dict[str, str] | None = None,
        tools: Tools,
    ) -> None:
        self.root = self.canonical(place)
        url = self.root.removeprefix("rest+")
        self._request = RestRequest(
            url=url, params=params, headers=headers, auth=auth, select=select, pagination=pagination
        )
        self._shape = Shape(key, changed, title, text, tags)
        host = url.partition("://")[2].partition("/")[0]
        self._rest = Rest(tools.hosts(host.partition(":")[0]), tools.secrets)
        self._in_hand = InHand(self.root, self._items)

    @staticmethod
    def canonical(place: str) -> str:
        scheme, _, rest = place.partition("://")
        return f"{scheme.lower()}://{rest.rstrip('/')}"

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        return self._in_hand.pages(wanted)

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        return self._in_hand.fetch(uri, max_bytes=max_bytes)

    def _items(self) -> Iterator[list[Any]]:
        pages = rest_pages(self._rest, self._request, timeout_s=_TIMEOUT_S, most_bytes=20 * MOST_BYTES)
        try:
            for page in pages:
                yield [self._shape.item(_values(each)) for each in page]
        except BadQuery as error:
            raise StorageUnusable(f"{self.root}: {error}") from error

    def close(self) -> None:
        self._rest.close()


def _values(item: Any) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise StorageError(f"`select` must find objects, for example $.items[*]; it found {item!r:.80}")
    return item
