"""A proxy before any server on this machine: it breaks connections in the middle, and as a proxy of HTTP it refuses requests."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deployments.testkit import Fault

_BLOCK = 1024


@dataclass
class FaultyProxy:
    """A proxy in front of a server; `fault` is the current kind of failure, which happens `times` times."""

    port: int
    refuses: bool = False
    """Whether it speaks HTTP, and can refuse requests."""
    fault: Fault | None = None
    times: int = 0

    def take(self, fault: Fault) -> bool:
        """Whether the current fault is this one."""
        if self.fault != fault or self.times == 0:
            return False
        self.times -= 1
        return True

    @contextmanager
    def broken(self, fault: Fault, times: int) -> Iterator[None]:
        self.fault, self.times = fault, times
        try:
            yield
        finally:
            self.fault = None


@contextmanager
def cutting_proxy(target: int, *, after_bytes: int) -> Iterator[FaultyProxy]:
    """A proxy of TCP; a cut connection ends when the server has sent `after_bytes`."""
    listening = socket.create_server(("127.0.0.1", 0))
    proxy = FaultyProxy(listening.getsockname()[1])

    def pump(source: socket.socket, sink: socket.socket, left: float) -> None:
        with suppress(OSError):
            while left > 0 and (data := source.recv(_BLOCK)):
                left -= len(data)
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def carry(client: socket.socket, left: float) -> None:
        with client, socket.create_connection(("127.0.0.1", target)) as server:
            asking = threading.Thread(target=pump, args=(client, server, float("inf")), daemon=True)
            asking.start()
            pump(server, client, left)
            asking.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                left = after_bytes if proxy.take("cut") else float("inf")
                threading.Thread(target=carry, args=(client, left), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield proxy
    finally:
        listening.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
        listening.close()


@contextmanager
def refusing_proxy(target: int) -> Iterator[FaultyProxy]:
    """A proxy of HTTP: it answers 429 with Retry-After, or 401 and 403, or sends half of an answer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self._body()
            if proxy.take("busy"):
                self._answer(429, [("Retry-After", "0")], b"")
                return
            if proxy.take("expired"):
                self._answer(401, [("WWW-Authenticate", "Basic")], b"")
                return
            with closing(http.client.HTTPConnection("127.0.0.1", target, timeout=30)) as connection:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        connection.putheader(name, value)
                if body or self.command in ("PUT", "POST", "PATCH"):
                    connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body or None)
                answer = connection.getresponse()
                content = answer.read()
            kept = [pair for pair in answer.getheaders() if pair[0].lower() not in _OF_CONNECTIONS]
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            if len(content) > 1 and proxy.take("cut"):
                self._answer(answer.status, kept, content[: len(content) // 2], str(len(content)))
                self.close_connection = True
                return
            self._answer(answer.status, kept, content, length)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks: list[bytes] = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def _answer(
            self, status: int, headers: list[tuple[str, str]], content: bytes, length: str | None = None
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_PROPFIND = do_OPTIONS = do_MKCOL = do_PATCH = _pass_on

        def log_message(self, format: str, *args: object) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    proxy = FaultyProxy(listening.server_port, refuses=True)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


_OF_CONNECTIONS = ("transfer-encoding", "connection", "content-length", "keep-alive")
