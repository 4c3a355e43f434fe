"""Real places of every kind of source for the checks of `deployments.testkit`: servers on this machine, a repository, a database."""

import html
import imaplib
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

from deployments.testkit import Fault
from flows.storage import Storage
from handlers.data import Connections
from handlers.sources import Tools
from tests.support.ports import free_port
from tests.support.web_server import WebAnswer, WebRequest, run_web_server

PRIVATE = ("127.0.0.1", "localhost")
LONG_AGO = 1_700_000_000


@dataclass
class FolderPlace:
    """A folder whose files have old timestamps, a different one for each write."""

    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    faults: frozenset[Fault] = frozenset({"half"})
    keeps_gone: bool = False
    writes: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.url = str(self.folder)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.writes += 1
        os.utime(path, (LONG_AGO + self.writes, LONG_AGO + self.writes))

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    @contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        """The second half of the folder cannot be listed, as if a disk were unmounted."""
        os.rename(self.folder, f"{self.folder}-away")
        try:
            yield
        finally:
            os.rename(f"{self.folder}-away", self.folder)


@dataclass
class MemoryPlace:
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    faults: frozenset[Fault] = frozenset()
    keeps_gone: bool = False

    def __post_init__(self) -> None:
        self.url = f"memory://{uuid4().hex}/docs"
        self._storage = Storage()
        self.write(".keep", "")

    def write(self, name: str, text: str) -> None:
        self._storage.write(f"{self.url}/{name}", text.encode())

    def remove(self, name: str) -> None:
        self._storage.delete(f"{self.url}/{name}")

    def broken(self, fault: Fault) -> Any:
        raise NotImplementedError


@dataclass
class GitPlace:
    """A repository on this machine; every change is a commit."""

    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    faults: frozenset[Fault] = frozenset()
    keeps_gone: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.url = f"git+file://{self.folder}@main"
        self.git("init", "-q", "-b", "main")
        self.git("commit", "-q", "--allow-empty", "-m", "Begin")

    def git(self, *arguments: str) -> None:
        who = ["-c", "user.name=Ann Author", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(self.folder), *who, *arguments], check=True, capture_output=True)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.git("add", "--", name)
        self.git("commit", "-q", "-m", f"Write {len(name)}")

    def remove(self, name: str) -> None:
        self.git("rm", "-q", "--", name)
        self.git("commit", "-q", "-m", "Remove")

    def broken(self, fault: Fault) -> Any:
        raise NotImplementedError


@dataclass
class ServedPlace:
    """Documents of a small HTTP server, which can be made to fail."""

    pages: dict[str, tuple[str, int]] = field(default_factory=dict[str, "tuple[str, int]"])
    """By name, the text and the number of its version."""
    url: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    faults: frozenset[Fault] = frozenset({"busy", "expired", "cut", "half"})
    keeps_gone: bool = False
    writes: int = 0
    fault: Fault | None = None
    failed: int = 0

    def write(self, name: str, text: str) -> None:
        self.writes += 1
        self.pages[name] = (text, self.writes)

    def remove(self, name: str) -> None:
        del self.pages[name]

    @contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        self.fault, self.failed = fault, 0
        try:
            yield
        finally:
            self.fault = None

    def answer(self, request: WebRequest) -> WebAnswer:
        if self.fault == "expired":
            return WebAnswer({"error": "the token has expired"}, 401)
        if self.fault in ("busy", "cut") and self.failed < 2 and request.path != "/robots.txt":
            self.failed += 1
            if self.fault == "busy":
                return WebAnswer({}, 429, {"retry-after": "0"})
            return WebAnswer(b"<html>", 200, {"content-length": "5000", "connection": "close"})
        return self.give(request)

    def give(self, request: WebRequest) -> WebAnswer:
        raise NotImplementedError


class SitePlace(ServedPlace):
    """A site of pages that link to each other, with menus around their texts."""

    sitemap = False

    def give(self, request: WebRequest) -> WebAnswer:
        names = sorted(self.pages)
        base = self.url.partition("/docs")[0]
        if request.path == "/sitemap.xml" and self.sitemap:
            urls = "".join(f"<url><loc>{base}/docs/{quote(name)}</loc></url>" for name in names)
            return WebAnswer(f"<urlset>{urls}</urlset>".encode(), 200, {"content-type": "application/xml"})
        if request.path == "/docs/":
            links = "".join(f"<li><a href='{quote(name)}?utm_source=menu'>x</a></li>" for name in names)
            page = f"<html><head><meta name=robots content=noindex></head><body><ul>{links}</ul></body></html>"
            return WebAnswer(page.encode(), 200, {"content-type": "text/html; charset=utf-8"})
        name = unquote(request.path.removeprefix("/docs/"))
        if not request.path.startswith("/docs/") or name not in self.pages:
            return WebAnswer(b"", 404)
        if self.fault == "half" and name == names[len(names) // 2]:
            return WebAnswer(b"", 418)
        text, version = self.pages[name]
        menu = "<nav><a href='/docs/'>Menu</a> <a href='/legal'>Legal</a></nav>"
        page = (
            f"<html><head><title>Page</title></head><body>{menu}<main><p>{html.escape(text)}</p></main></body></html>"
        )
        return WebAnswer(page.encode(), 200, {"content-type": "text/html; charset=utf-8", "etag": f'"v{version}"'})


class ApiPlace(ServedPlace):
    """A REST API with pages of ten objects."""

    def give(self, request: WebRequest) -> WebAnswer:
        page = int(request.query.get("cursor", ["0"])[0])
        if self.fault == "half" and page:
            return WebAnswer({}, 418)
        names = sorted(self.pages)[page : page + (2 if self.fault == "half" else 10)]
        items = [{"id": name, "body": self.pages[name][0], "version": self.pages[name][1]} for name in names]
        end = page + len(names)
        return WebAnswer({"items": items, "next": str(end) if end < len(self.pages) else None})


class FeedPlace(ServedPlace):
    """A feed that shows its twenty newest entries."""

    def give(self, request: WebRequest) -> WebAnswer:
        newest = sorted(self.pages, key=lambda name: -self.pages[name][1])[: 3 if self.fault == "half" else 100]
        entries = "".join(
            f"<entry><id>{html.escape(name)}</id><title>Entry</title><updated>2026-01-01T00:00:00Z</updated>"
            f"<content type='html'>{html.escape('<p>' + html.escape(self.pages[name][0]) + '</p>')}</content></entry>"
            for name in newest
        )
        feed = f"<?xml version='1.0' encoding='utf-8'?><feed xmlns='http://www.w3.org/2005/Atom'>{entries}</feed>"
        return WebAnswer(feed.encode(), 200, {"content-type": "application/atom+xml"})


@contextmanager
def site_place(*, sitemap: bool = False) -> Iterator[SitePlace]:
    place = SitePlace(options={"per_second": 0})
    place.sitemap = sitemap
    with run_web_server(place.answer) as server:
        place.url = f"{server.url}/docs/"
        yield place


@contextmanager
def api_place() -> Iterator[ApiPlace]:
    pagination = {"type": "cursor", "cursor": "$.next"}
    options = {"key": "id", "select": "$.items[*]", "text": "body", "changed": "version", "pagination": pagination}
    place = ApiPlace(options=options)
    with run_web_server(place.answer) as server:
        place.url = f"rest+{server.url}/api/articles"
        yield place


@contextmanager
def feed_place() -> Iterator[FeedPlace]:
    place = FeedPlace(keeps_gone=True)
    with run_web_server(place.answer) as server:
        place.url = f"feed+{server.url}/feed.xml"
        yield place


@dataclass
class RowsPlace:
    """A table of a SQLite database."""

    file: Path
    faults: frozenset[Fault] = frozenset()
    keeps_gone: bool = False
    writes: int = 0
    url: str = "rows://sales/articles"
    options: Mapping[str, Any] = field(
        default_factory=lambda: {
            "query": "SELECT name, body, version FROM articles WHERE NOT deleted",
            "key": "name",
            "text": "body",
            "changed": "version",
        }
    )

    def __post_init__(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._run("CREATE TABLE articles (name TEXT PRIMARY KEY, body TEXT, version INT, deleted INT)")

    def tools(self) -> Tools:
        return Tools(connections=Connections({"sales": f"sqlite:///{self.file}"}))

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> None:
        connection = sqlite3.connect(self.file)
        with connection:
            connection.execute(statement, values)
        connection.close()

    def write(self, name: str, text: str) -> None:
        self.writes += 1
        self._run("INSERT OR REPLACE INTO articles VALUES (?, ?, ?, 0)", (name, text, self.writes))

    def remove(self, name: str) -> None:
        self._run("UPDATE articles SET deleted = 1 WHERE name = ?", (name,))

    def broken(self, fault: Fault) -> Any:
        raise NotImplementedError


@dataclass
class MailPlace:
    """A folder of an IMAP server; a document is a message, and an edit is another message in its place."""

    port: int
    folder: str
    options: Mapping[str, Any] = field(default_factory=lambda: {"password": "env:TEST_MAIL_PASSWORD"})
    faults: frozenset[Fault] = frozenset({"expired"})
    keeps_gone: bool = False
    messages: dict[str, str] = field(default_factory=dict[str, str])
    """Numbers in the folder by name."""

    def __post_init__(self) -> None:
        self.url = f"imap://demouser@127.0.0.1:{self.port}/{self.folder}"
        os.environ["TEST_MAIL_PASSWORD"] = "demopass"
        with self._opened() as server:
            server.create(self.folder)

    @contextmanager
    def _opened(self) -> Iterator[imaplib.IMAP4]:
        server = imaplib.IMAP4("127.0.0.1", self.port, timeout=60)
        server.login("demouser", "demopass")
        try:
            yield server
        finally:
            server.logout()

    def write(self, name: str, text: str) -> None:
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = name, "ann@example.com", "bob@example.com"
        message.set_content(text)
        if name in self.messages:
            self.remove(name)
        with self._opened() as server:
            _, answer = server.append(self.folder, "", "", message.as_bytes())
            found = re.search(rb"APPENDUID \d+ (\d+)", answer[0])
            assert found is not None, answer
            self.messages[name] = found[1].decode()

    def remove(self, name: str) -> None:
        with self._opened() as server:
            server.select(self.folder)
            server.uid("STORE", self.messages.pop(name), "+FLAGS", "(\\Deleted)")
            server.expunge()

    @contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        """The password is no longer the right one."""
        os.environ["TEST_MAIL_PASSWORD"] = "expired"
        try:
            yield
        finally:
            os.environ["TEST_MAIL_PASSWORD"] = "demopass"


@contextmanager
def mail_server() -> Iterator[int]:
    """An IMAP server as a process of its own; its port."""
    port = free_port()
    program = str(Path(sys.executable).with_name("pymap"))
    with served(port, [program, "--host", "127.0.0.1", "--port", str(port), "--no-tls", "dict", "--demo-data"]):
        yield port


@contextmanager
def ftp_place(folder: Path) -> Iterator[FolderPlace]:
    """A folder behind an FTP server, which is a process of its own."""
    place = FolderPlace(folder, {"options": {"username": "ann", "password": "word"}}, frozenset())
    port = free_port()
    place.url = f"ftp://127.0.0.1:{port}"
    options = ["-i", "127.0.0.1", "-p", str(port), "-d", str(folder), "-u", "ann", "-P", "word"]
    with served(port, [sys.executable, "-m", "pyftpdlib", *options]):
        yield place


@contextmanager
def served(port: int, command: list[str]) -> Iterator[None]:
    """A process that listens to a port."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
