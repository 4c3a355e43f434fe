"""The hosts that HTTP may reach: those in the settings; the checked address is the one that is connected to."""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from handlers.data.binding import BadQuery

Resolve: TypeAlias = Callable[[str, int], list[str]]


def addresses_of(host: str, port: int) -> list[str]:
    """The IP addresses of a host."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


class AllowedHosts:
    """Patterns of hosts (`api.example.com`, `*.example.com`, `127.0.0.1:8080`); only `private` ones may be private
    addresses.
    """

    def __init__(
        self, public: Iterable[str] = (), private: Iterable[str] = (), *, resolve: Resolve = addresses_of
    ) -> None:
        self._public, self._private, self._resolve = tuple(public), tuple(private), resolve

    def check(self, host: str, port: int) -> str:
        """An address to connect to.

        Raises:
            BadQuery: the host is not allowed, or is a private address and not allowed as such.
            OSError: it has no address.
        """
        private = _matches(host, port, self._private)
        if not private and not _matches(host, port, self._public):
            raise BadQuery(f"the host {host!r} is not allowed; the operator adds it to BRAID_REST_HOSTS")
        addresses = self._resolve(host, port)
        refused = [address for address in addresses if not private and not _is_public(address)]
        if refused:
            # One private address among several is refused too, because a later lookup might return only that one.
            raise BadQuery(
                f"the host {host!r} has the private address {refused[0]}; "
                "if that is meant, the operator adds it to BRAID_REST_PRIVATE_HOSTS"
            )
        return addresses[0]


def _matches(host: str, port: int, patterns: Iterable[str]) -> bool:
    names = (host.lower(), f"{host.lower()}:{port}", f"[{host.lower()}]:{port}")
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns for name in names)


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.split("%")[0])
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    return ip.is_global and not ip.is_multicast and (inner is None or inner.is_global)


def make_client(hosts: AllowedHosts) -> Any:
    """An `httpx.Client` that reaches allowed hosts only; it follows no redirects and uses no proxy."""
    import httpx

    class CheckedTransport(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
            try:
                address = hosts.check(host, port)
            except OSError as error:
                raise httpx.ConnectError(f"{host}: {error}", request=request) from error
            # Connect to the checked address, so that a changed DNS answer cannot redirect the request. The certificate
            # and the Host header still belong to the name.
            request.extensions = {**request.extensions, "sni_hostname": host}
            asked = request.url
            request.url = request.url.copy_with(host=address)
            try:
                return super().handle_request(request)
            finally:
                request.url = asked

    return httpx.Client(transport=CheckedTransport(), follow_redirects=False, trust_env=False)
