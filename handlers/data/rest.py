"""REST: GET or POST to an allowed host, optionally page by page; a JSONPath selects the part of the answer."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, quote, urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from flows.author import TRANSIENT_HTTP, Call, parse_retry_after
from flows.errors import StepTimeout, TransientError
from handlers.data.binding import PLACEHOLDER, BadQuery, Lookup, bind_value, fill
from handlers.data.extras import missing_extra
from handlers.data.hosts import AllowedHosts, make_client
from handlers.options import Options
from handlers.secrets import Secrets, hide

_MOST_REDIRECTS = 5
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"})


class Auth(BaseModel):
    """How a request is authorised; the pipeline refers to the secret and never contains it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["bearer", "basic", "header"] = "bearer"
    secret: str = Field(description="A reference such as env:CRM_TOKEN; for basic the secret is `user:password`.")
    header: str = Field(default="X-Api-Key", description="The header that carries the secret, for type header.")


class Pagination(BaseModel):
    """How to get the next page: by the Link header, by a cursor in the answer, or by a page number."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["link", "cursor", "page"]
    param: str | None = Field(default=None, description="The query parameter of the cursor or the page number.")
    cursor: str | None = Field(default=None, description="JSONPath of the next cursor in the answer.")
    first: int = Field(default=1, description="The number of the first page.")
    max_pages: int = Field(default=100, ge=1, description="More pages than this are an error.")


@dataclass(frozen=True)
class RestRequest(Options):
    """A request to a REST service, and the wanted part of the answer; `{name}` in it stands for a value.

    Parameters stand in the query part of `url`, in `params`, or in both; for a name in both, `params` has the value.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    url: str | None = None
    method: Literal["GET", "POST"] = "GET"
    params: dict[str, Any] | None = None
    headers: dict[str, str] | None = None
    body: Any = None
    auth: Auth | None = None
    select: str | None = None
    pagination: Pagination | None = None


class Rest:
    """The allowed hosts, the secrets and the open connections that REST queries share."""

    def __init__(self, hosts: AllowedHosts, secrets: Secrets | None = None) -> None:
        self.hosts, self.secrets = hosts, secrets or Secrets()
        self._client: Any = None

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = make_client(self.hosts)
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


def check_request(url: Any, headers: Mapping[str, str], select: str | None) -> None:
    """Refuse a bad request before it is sent.

    Raises:
        BadQuery: the URL has no host or a placeholder in it, a header has a secret, or the JSONPath is not valid.
    """
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise BadQuery(f"`url` must be an http:// or https:// address with a host, not {url!r}")
    address = urlsplit(url)
    if PLACEHOLDER.search(address.netloc):
        raise BadQuery(
            "the host of `url` has a placeholder; write the host itself, values go into the path or `params`"
        )
    if address.username or address.password:
        raise BadQuery("`url` has a user or password; use `auth` with a reference to the secret")
    for name in headers:
        if name.lower() in _SECRET_HEADERS:
            raise BadQuery(
                f"the header {name!r} holds a secret; use `auth: {{type: header, header: {name}, secret: env:…}}`"
            )
    if select is not None:
        _json_path(select)


def call_rest(
    rest: Rest, request: RestRequest, lookup: Lookup, call: Call, *, timeout_s: float, most_bytes: int
) -> Any:
    """The answer, or the part of it that `select` finds; with `pagination`, the items of all pages in one list.

    Raises:
        BadQuery: Braid or the service refuses it.
        TransientError: the service is busy or unreachable; carries its Retry-After.
    """
    limits = _Limits(monotonic() + timeout_s, timeout_s, most_bytes)
    with _prepared(rest, request, lookup) as sent:
        if request.pagination is None:
            return _select(_read_json(_send(rest, sent, limits)), request.select)
        items: list[Any] = []
        for page in _pages(rest, sent, request.pagination, request.select, limits, call):
            items.extend(page)
        return items


def rest_pages(rest: Rest, request: RestRequest, *, timeout_s: float, most_bytes: int) -> Iterator[list[Any]]:
    """Yield the selected items, one list per page; the limits of time and bytes are for all pages together.

    Raises:
        BadQuery, TransientError: as `call_rest`.
    """
    limits = _Limits(monotonic() + timeout_s, timeout_s, most_bytes)
    with _prepared(rest, request, _no_values) as sent:
        if request.pagination is not None:
            yield from _pages(rest, sent, request.pagination, request.select, limits, Call())
        else:
            found = _select(_read_json(_send(rest, sent, limits)), request.select)
            yield cast("list[Any]", found) if isinstance(found, list) else [found]


def _no_values(name: str) -> Any:
    raise BadQuery(f"{{{name}}} is a placeholder, and there are no values here")


@contextmanager
def _prepared(rest: Rest, request: RestRequest, lookup: Lookup) -> Iterator[dict[str, Any]]:
    """The request as it is sent; errors never contain its secret."""
    check_request(request.url, request.headers or {}, request.select)
    secret = rest.secrets(request.auth.secret) if request.auth is not None else None
    address, _, query = (request.url or "").partition("#")[0].partition("?")
    sent = {
        "method": request.method,
        "url": _fill_url(address, lookup),
        "params": {**_query_params(query, lookup), **_params(fill(request.params or {}, lookup))},
        "headers": {
            **{name: str(value) for name, value in fill(request.headers or {}, lookup).items()},
            **_authorisation(request.auth, secret),
        },
        "json": fill(request.body, lookup),
    }
    try:
        yield sent
    except (BadQuery, TransientError) as error:
        if secret and secret in str(error):
            kind = type(error)
            raise kind(hide(str(error), [secret])) from None
        raise


class _Limits:
    """The remaining time and bytes of a query, over all its pages."""

    def __init__(self, until: float, timeout_s: float, bytes_left: int) -> None:
        self.until, self.timeout_s, self.bytes_left, self.most_bytes = until, timeout_s, bytes_left, bytes_left

    def seconds(self) -> float:
        left = self.until - monotonic()
        if left <= 0:
            raise StepTimeout(f"the request took longer than {self.timeout_s} s and was stopped")
        return left

    def take(self, size: int) -> None:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise BadQuery(f"the answer has more than max_bytes {self.most_bytes}; ask for less or raise max_bytes")


@dataclass(frozen=True)
class _Answer:
    response: Any
    content: bytes


def _send(rest: Rest, request: Mapping[str, Any], limits: _Limits) -> _Answer:
    import httpx

    current = dict(request)
    origin = _origin(current["url"])
    for _ in range(_MOST_REDIRECTS + 1):
        try:
            with rest.client.stream(timeout=limits.seconds(), **current) as response:
                content = b""
                for part in response.iter_bytes():
                    limits.take(len(part))
                    limits.seconds()
                    content += part
        except httpx.TransportError as error:
            raise TransientError(f"{_without_query(current['url'])}: {error or type(error).__name__}") from None
        except (httpx.InvalidURL, httpx.DecodingError) as error:
            raise BadQuery(f"{_without_query(current['url'])}: {error}") from None
        if not response.has_redirect_location:
            _check_status(response, content, current["url"])
            return _Answer(response, content)
        target = urljoin(current["url"], response.headers["location"])
        if _origin(target) != origin:
            raise BadQuery(
                f"{_without_query(current['url'])} redirects to another host, {urlsplit(target).netloc!r}; "
                "if that is meant, query it directly"
            )
        if current["method"] != "GET":
            raise BadQuery(f"{_without_query(current['url'])} redirects a {current['method']}; write the final address")
        current = {**current, "url": target, "params": None}
    raise BadQuery(f"{_without_query(request['url'])} redirects more than {_MOST_REDIRECTS} times")


def _check_status(response: Any, content: bytes, url: str) -> None:
    status = response.status_code
    if status < 300:
        return
    text = f"{_without_query(url)} answered {status}: {content[:200].decode(errors='replace')}"
    if status in TRANSIENT_HTTP or status >= 500:
        raise TransientError(text, retry_after_s=parse_retry_after(response.headers.get("retry-after", "")))
    raise BadQuery(text)


def _pages(
    rest: Rest, request: Mapping[str, Any], pagination: Pagination, select: str | None, limits: _Limits, call: Call
) -> Iterator[list[Any]]:
    current, origin = dict(request), _origin(request["url"])
    for number in range(pagination.max_pages + 1):
        call.check_cancelled()
        if number == pagination.max_pages:
            raise BadQuery(
                f"there are more than max_pages {pagination.max_pages} pages; ask for less or raise max_pages"
            )
        if pagination.type == "page":
            current["params"] = {**request["params"], pagination.param or "page": pagination.first + number}
        answer = _send(rest, current, limits)
        body = _read_json(answer)
        selected = _select(body, select)
        page = cast("list[Any]", selected) if isinstance(selected, list) else [selected]
        if pagination.type == "page" and not page:
            return
        yield page
        if pagination.type == "link":
            target = answer.response.links.get("next", {}).get("url")
            if target is None:
                return
            target = urljoin(current["url"], target)
            if _origin(target) != origin:  # the secret is sent only to one host
                raise BadQuery(f"the next page is on another host, {urlsplit(target).netloc!r}; refused")
            current = {**current, "url": target, "params": None}
        elif pagination.type == "cursor":
            found = _json_path(pagination.cursor or "$.next_cursor").findall(body)
            if not found or found[0] in (None, ""):
                return
            current["params"] = {**request["params"], pagination.param or "cursor": found[0]}


def _fill_url(url: str, lookup: Lookup) -> str:
    def segment(value: str) -> str:
        if value in ("", ".", ".."):
            raise BadQuery(f"{value!r} cannot be a part of an address; it would lead to another one")
        return quote(value, safe="")

    if PLACEHOLDER.fullmatch(url):
        raise BadQuery("`url` is a placeholder as a whole; write the address itself")
    return PLACEHOLDER.sub(lambda found: segment(str(bind_value(found[1], lookup))), url)


def _query_params(query: str, lookup: Lookup) -> dict[str, list[Any]]:
    """The parameters in the query part of a URL, each with its values in order, placeholders filled."""
    found: dict[str, list[Any]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if PLACEHOLDER.search(name):
            raise BadQuery("the name of a parameter in the query of `url` is a placeholder; write the name itself")
        filled = fill(value, lookup)
        found.setdefault(name, []).extend(filled if isinstance(filled, list) else [] if filled is None else [filled])
    return found


def _params(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, (str, int, float, bool, list)) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _authorisation(auth: Auth | None, secret: str | None) -> dict[str, str]:
    import base64

    if auth is None or secret is None:
        return {}
    if auth.type == "header":
        return {auth.header: secret}
    if auth.type == "basic":
        return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    return {"Authorization": f"Bearer {secret}"}


def _read_json(answer: _Answer) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError as error:
        raise BadQuery(
            f"{_without_query(str(answer.response.url))} did not answer with JSON: {answer.content[:80]!r}"
        ) from error


def _json_path(path: str) -> Any:
    try:
        import jsonpath
    except ImportError as error:
        raise missing_extra("python-jsonpath", "data") from error
    try:
        return jsonpath.compile(path)
    except jsonpath.JSONPathError as error:
        raise BadQuery(f"{path!r} is not a JSONPath: {error}; for example $.items[*].name") from error


def _select(body: Any, select: str | None) -> Any:
    return body if select is None else _json_path(select).findall(body)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return (parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme))


def _without_query(url: str) -> str:
    """An address without its query, which may hold secrets."""
    return url.split("?")[0].split("#")[0]
