"""A mailbox on an IMAP server: each message is a document, and each attachment a separate document."""

import imaplib
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from flows.errors import MissingObject, StorageError, StorageUnusable, TransientError
from handlers.records import Fetched
from handlers.sources.protocol import Listed, Page, Tools, UnusableOption
from handlers.sources.registry import Secret, source_kind

_PAGE = 500
_ABOUT = re.compile(rb"UID (\d+)")
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
_TIMEOUT_S = 60.0


@source_kind("mail", "imap", "imaps")
class Mailbox:
    """`imaps://user@host/INBOX`. A message never changes; its token is its number in the mailbox.

    The `password` is a reference to a secret. A file of messages (`.mbox`) is a source of files.
    """

    def __init__(self, place: str, *, password: Secret, tools: Tools) -> None:
        self.root = self.canonical(place)
        parts = urlsplit(self.root)
        if not parts.username or not parts.hostname or parts.password:
            raise UnusableOption(f"{parts.scheme}://…: write imaps://user@host/FOLDER, and the password as an option")
        self._host, self._port, self._user = parts.hostname, parts.port, unquote(parts.username)
        self._folder = unquote(parts.path.strip("/")) or "INBOX"
        self._secure, self._password, self._tools = parts.scheme == "imaps", password, tools
        self._connection: imaplib.IMAP4 | None = None
        self._lock = threading.Lock()  # a connection answers one request at a time
        self._validity = ""

    @staticmethod
    def canonical(place: str) -> str:
        scheme, _, rest = place.rstrip("/").partition("://")
        host, _, folder = rest.partition("/")
        return f"{scheme.lower()}://{host}/{quote(unquote(folder or 'INBOX'), safe='/')}"

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        numbers: list[bytes] = self._ask("SEARCH", "ALL")[0].split()
        for start in range(0, len(numbers), _PAGE):
            some = b",".join(numbers[start : start + _PAGE]).decode()
            page: list[Listed] = []
            for line in self._ask("FETCH", some, "(UID RFC822.SIZE)"):
                number, size = _ABOUT.search(line), _SIZE.search(line)
                if number and size:
                    name = f"{number[1].decode()}.eml"
                    page.append(Listed(f"{self.root}/{name}", name, self._token(name), int(size[1])))
            yield page

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        name = uri.rpartition("/")[2]
        found = self._ask("FETCH", name.removesuffix(".eml"), "(BODY.PEEK[])")
        data = next((part[1] for part in found if isinstance(part, tuple)), None)
        if data is None:
            raise MissingObject(f"{uri}: the message is no longer there")
        if max_bytes is not None and len(data) > max_bytes:
            raise StorageError(f"{uri}: is longer than the {max_bytes} bytes allowed here")
        return Fetched(data, token=self._token(name))

    def _token(self, name: str) -> str:
        return f"{self._validity}-{name}"

    def _ask(self, command: str, *arguments: str) -> list[Any]:
        try:
            with self._lock:
                status, found = self._opened().uid(command, *arguments)
        except (OSError, imaplib.IMAP4.abort) as error:
            self._drop()
            raise TransientError(f"{self.root}: the connection broke ({error})") from error
        except imaplib.IMAP4.error as error:
            self._drop()
            raise StorageUnusable(f"{self.root}: {error}") from error
        if status != "OK":
            raise StorageError(f"{self.root}: {command} was refused: {found}")
        return [each for each in found if each is not None] or [b""]

    def _opened(self) -> imaplib.IMAP4:
        if self._connection is None:
            port = self._port or (993 if self._secure else 143)
            address = self._tools.hosts(self._host).check(self._host, port)
            opened: imaplib.IMAP4
            if self._secure:
                context = ssl.create_default_context()
                opened = imaplib.IMAP4_SSL(self._host, port, ssl_context=context, timeout=_TIMEOUT_S)
            else:
                opened = imaplib.IMAP4(address, port, timeout=_TIMEOUT_S)
            self._connection = opened
            try:
                opened.login(self._user, self._password)
            except imaplib.IMAP4.error as error:
                self._drop()
                text = f"{self.root}: access is denied, the password may have expired: {error}"
                raise StorageUnusable(text) from error
            status, answer = opened.select(f'"{self._folder}"', readonly=True)
            if status != "OK":
                self._drop()
                raise StorageUnusable(f"{self.root}: there is no folder {self._folder!r}: {answer}")
            self._validity = ((opened.response("UIDVALIDITY")[1] or [b""])[0] or b"").decode()
        return self._connection

    def _drop(self) -> None:
        """Close the connection without logging out, because it is broken or was refused."""
        if self._connection is not None:
            self._connection.shutdown()
            self._connection = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.logout()
            self._connection = None
