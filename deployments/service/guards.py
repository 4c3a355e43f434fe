"""The first checks of a request: host, origin, rate and size."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from deployments.service.problems import CrossSite, TooLarge, TooMany, TooSlow

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_WILDCARDS = ("0.0.0.0", "::", "")
_MOST_CALLERS = 10_000
_BODY_S = 60.0
"""Seconds for each part of a body to arrive."""


def address_in(scope: Mapping[str, Any]) -> str:
    """The address of the client of an ASGI request, as a caller for limits."""
    return f"address {(scope.get('client') or ('',))[0]}"


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach a server that is bound to this address."""
    return host in LOOPBACK


class HostCheck:
    """Refuses requests for a foreign host name (DNS rebinding), or from a page of another origin."""

    def __init__(self, bind: str, names: Collection[str]) -> None:
        any_host = bind in _WILDCARDS and not names
        self._names = None if any_host else {*LOOPBACK, bind.lower(), *(name.lower() for name in names)}

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Raises:
        CrossSite: the request is refused.
        """
        host = headers.get("host", "")
        if self._names is not None and (_hostname(host) not in self._names):
            raise CrossSite(f"requests cannot address this server by the name {_hostname(host)!r}")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise CrossSite("requests from pages of another origin are refused")
        site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "")
        followed_a_link = method == "GET" and mode == "navigate" and headers.get("sec-fetch-dest") == "document"
        if site not in ("same-origin", "none") and not followed_a_link:
            raise CrossSite("requests from pages of another site are refused")


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class RateLimit:
    """A limit per minute for each caller, of calls or of what `of` names: a token bucket, which allows a burst."""

    def __init__(self, per_minute: int, *, of: str = "calls") -> None:
        self._per_minute, self._of = per_minute, of
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, caller: str) -> None:
        """Count a call.

        Raises:
            TooMany: the limit is exceeded; carries the seconds to wait.
        """
        if not self._per_minute:
            return
        now = time.monotonic()
        left, since = self._buckets.pop(caller, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - since) * self._per_minute / 60)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now)
        while len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        if not allowed:
            wait_s = (1 - left) * 60 / self._per_minute
            raise TooMany(f"more than {self._per_minute} {self._of} per minute", retry_after_s=wait_s)


def limited_body(receive: Any, headers: Mapping[str, str], most: int) -> Any:
    """Wrap the `receive` of an ASGI request: it refuses a body of more than `most` bytes, or one that arrives too
    slowly.

    Raises:
        TooLarge: the request announces a longer body.
    """
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        raise TooLarge(f"the request has {int(announced):,} bytes; {most:,} are allowed here")
    taken = 0

    async def limited() -> Any:
        nonlocal taken
        try:
            message = await asyncio.wait_for(receive(), _BODY_S) if taken >= 0 else await receive()
        except TimeoutError:
            raise TooSlow("the body of the request did not arrive in time") from None
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > most:
                raise TooLarge(f"the request has more than the {most:,} bytes that are allowed here")
            if not message.get("more_body"):
                taken = -1  # the body is complete; further calls wait for the end of the connection
        return message

    return limited
