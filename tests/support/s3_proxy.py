"""A small HTTP proxy in front of a real S3 server: counts requests, and answers some of them with faults."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from flows.storage import StorageOptions
from tests.support.s3 import S3Server


@dataclass(frozen=True)
class Fault:
    """An answer instead of the server's; `cut` forwards the request, and returns half of the download."""

    status: int = 503
    code: str = "SlowDown"
    body: bytes | None = None
    cut: bool = False

    @property
    def content(self) -> bytes:
        written = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>no</Message></Error>"
        return written.encode() if self.body is None else self.body


@dataclass
class Proxy:
    """The requests that went through; `fault` returns the fault for a method and path (True: 503 SlowDown)."""

    endpoint_url: str
    server: S3Server
    fault: Callable[[str, str], bool | Fault] = lambda method, path: False
    before: Callable[[str, str], None] = lambda method, path: None
    """Called before a request is passed on, for example to delete what it asks for."""
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def options(self) -> StorageOptions:
        return replace(self.server.options, s3_endpoint_url=self.endpoint_url)

    @property
    def listings(self) -> int:
        return sum("list-type" in parse_qs(urlsplit(path).query) for method, path in self.asked if method == "GET")

    @property
    def downloads(self) -> list[str]:
        return [urlsplit(path).path for method, path in self.asked if method == "GET" and "list-type" not in path]


@contextmanager
def proxy_of(server: S3Server) -> Iterator[Proxy]:
    target = urlsplit(server.endpoint_url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            proxy.asked.append((self.command, self.path))
            fault = proxy.fault(self.command, self.path)
            fault = (Fault() if fault else None) if isinstance(fault, bool) else fault
            if fault and not fault.cut:
                self._answer(fault.status, [("Retry-After", "1")], fault.content)
                return
            proxy.before(self.command, self.path)
            # The host stays as it was: the signature covers it, and the server checks it against the header.
            with closing(http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)) as connection:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() != "connection":
                        connection.putheader(name, value)
                connection.endheaders(body or None)
                answer = connection.getresponse()
                content = answer.read()
            headers = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in ("transfer-encoding", "connection", "content-length")
            ]
            if fault and self.command == "GET":  # the header has the full length, but only half of the body is sent
                self._answer(answer.status, headers, content[: len(content) // 2], str(len(content)))
                self.close_connection = True
                return
            length = answer.getheader("Content-Length")
            self._answer(answer.status, headers, content, length if self.command == "HEAD" else None)

        def _answer(
            self, status: int, headers: list[tuple[str, str]], content: bytes, length: str | None = None
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on

        def log_message(self, format: str, *args: object) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{listening.server_port}", server)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
