"""Connections to the servers that fsspec reaches: one for each thread and server, made anew once it has broken."""

import importlib
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

_FSSPEC_NAMES = {"az": "abfs", "dav": "webdav", "davs": "webdav", "webdavs": "webdav", "ftps": "ftp"}
"""The schemes that fsspec knows by other names."""


class Connections:
    """The fsspec filesystems of one scheme; `options` are those of their class, besides the parts of the URL."""

    def __init__(self, scheme: str, options: Mapping[str, Any]) -> None:
        self.scheme, self._options = scheme.removeprefix("files+"), dict(options)
        self._kept = threading.local()

    def at(self, path: str) -> tuple[Any, str]:
        """The filesystem for `host/path` or `bucket/path`, and the path as it calls it.

        Only the first part is read as a URL: fsspec would end a name at a `?`.
        """
        server, _, below = path.partition("/")
        known = vars(self._kept)
        if server not in known:
            known[server] = self._connect(server)
        files, top = known[server]
        if not below:
            return files, top
        return files, f"{top.rstrip('/')}/{below}" if top else below

    def drop(self, path: str) -> None:
        """Forget this thread's connection to the server of a path: it may be broken."""
        vars(self._kept).pop(path.partition("/")[0], None)

    def _connect(self, server: str) -> tuple[Any, str]:
        fsspec: Any = importlib.import_module("fsspec")  # it has no annotations
        dircache: Any = importlib.import_module("fsspec.dircache")
        name = _FSSPEC_NAMES.get(self.scheme, self.scheme)
        make, url = fsspec.get_filesystem_class(name), f"{name}://{server}"
        found: dict[str, Any] = make._get_kwargs_from_urls(url)
        given = {**found, **self._options}
        if name == "webdav":
            given = _webdav(self.scheme, server, self._options)
        elif self.scheme == "ftps":
            given = {"tls": True, **given}
        elif name == "smb":
            given = {"share_access": "rwd", **given}  # otherwise nobody else can open a file while it is read
        files = make(skip_instance_cache=True, **given)
        # As an option, several of the classes would pass it on to their clients, which do not know it.
        files.dircache = dircache.DirCache(use_listings_cache=False)
        is_host = "host" in found or name == "webdav"
        return files, "/" if is_host else str(make._strip_protocol(url)).rstrip("/")


def _webdav(scheme: str, server: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of webdav4, which wants the URL of the server, and a pair of name and password."""
    webdav4: Any = importlib.import_module("webdav4.client")

    class Client(webdav4.Client):
        # A `?` in a name would end it.
        def join_url(self, path: str, add_trailing_slash: bool = False) -> Any:
            return super().join_url(quote(path), add_trailing_slash)

    given = {name: value for name, value in options.items() if name not in ("username", "password")}
    if "username" in options:
        given["auth"] = (options["username"], options.get("password", ""))
    url = f"{'https' if scheme.endswith('s') else 'http'}://{server}"
    return {"base_url": url, "client": Client(url, **given)}
