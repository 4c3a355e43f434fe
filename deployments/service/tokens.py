"""The file of hashed tokens, with the caller of each and the documents that the caller may see."""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from deployments.service.access import Caller
from deployments.setting_values import InvalidSettings
from flows.errors import UnknownName
from flows.storage import write_durably
from handlers.tags import check_tags

PREFIX = "braid_"
_EVERYTHING = "everything"
_DAY_S = 86_400


@dataclass(frozen=True)
class Token:
    """The record of a token; `tags` as in `Caller`."""

    id: str
    name: str
    sha256: str
    tags: Mapping[str, Sequence[str]] | None
    may_ingest: bool
    created: float
    expires: float | None = None
    revoked: float | None = None

    def is_valid(self, now: float) -> bool:
        return self.revoked is None and (self.expires is None or now < self.expires)

    @property
    def caller(self) -> Caller:
        return Caller(self.name, tags=self.tags, may_ingest=self.may_ingest)


class TokenFile:
    """The tokens in a file; changes, also by other processes, are effective from the next call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._state: tuple[int, int, int] | None = None
        self._tokens: dict[str, Token] = {}

    def add(
        self,
        name: str,
        *,
        tags: Mapping[str, Sequence[str]] | None,
        may_ingest: bool = False,
        days: float | None = None,
    ) -> str:
        """A new token; only its hash is kept.

        Raises:
            InvalidSettings: a valid token has that name, `tags` is empty, or it may ingest although tags limit it.
            InvalidTag: a tag cannot be one of a document.
        """
        if tags is not None:
            check_tags(tags)
            if not tags or not all(tags.values()):
                raise InvalidSettings("a token must give access to some documents: add --tag or --everything")
            if may_ingest:
                raise InvalidSettings("--ingest needs --everything: an ingestion may read and replace any document")
        secret = PREFIX + secrets.token_urlsafe(32)
        now = time.time()
        with self._writing():
            known = self._read()
            if any(each.name == name and each.is_valid(now) for each in known.values()):
                raise InvalidSettings(f"there is a token named {name!r} already; revoke it, or choose another name")
            expires = None if days is None else now + days * _DAY_S
            made = Token(secrets.token_hex(4), name, _digest(secret), tags, may_ingest, now, expires)
            self._write({**known, made.sha256: made})
        return secret

    def listed(self) -> list[Token]:
        """All tokens, oldest first, including revoked and expired ones."""
        return sorted(self._current().values(), key=lambda each: each.created)

    def revoke(self, id_or_name: str) -> Token:
        """Make a token invalid from now on.

        Raises:
            UnknownName: no valid token has that id or name.
        """
        now = time.time()
        with self._writing():
            known = self._read()
            valid = {each.id: each for each in known.values() if each.is_valid(now)}
            found = valid.get(id_or_name) or next((each for each in valid.values() if each.name == id_or_name), None)
            if found is None:
                raise UnknownName("token", id_or_name, [each.name for each in valid.values()])
            self._write({**known, found.sha256: replace(found, revoked=now)})
        return found

    def in_use(self) -> bool:
        """Whether any token was ever created; from then on every caller needs one, even if all are revoked."""
        return bool(self._current())

    def caller(self, secret: str) -> Caller | None:
        """The owner of a token; None if it is not valid."""
        # Looked up by its hash, so that the time reveals nothing about existing tokens.
        found = self._current().get(_digest(secret))
        return found.caller if found is not None and found.is_valid(time.time()) else None

    def _current(self) -> dict[str, Token]:
        with self._lock:
            state = _state(self.path)
            if state != self._state:
                self._tokens, self._state = self._read(), state
            return self._tokens

    def _writing(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_name(f".{self.path.name}.lock"), mode=0o600)

    def _read(self) -> dict[str, Token]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise InvalidSettings(f"the file of tokens cannot be read: {error}") from error
        try:
            return {each.sha256: each for each in map(_token, json.loads(text)["tokens"])}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidSettings(
                f"{self.path} is not a file of tokens ({type(error).__name__}); repair it, or remove it and make new "
                "tokens with `braid tokens add`"
            ) from error

    def _write(self, tokens: Mapping[str, Token]) -> None:
        rows = [asdict(each) | {"tags": _EVERYTHING if each.tags is None else each.tags} for each in tokens.values()]
        write_durably(self.path, json.dumps({"tokens": rows}, indent=2).encode())


def _token(row: Mapping[str, Any]) -> Token:
    tags = row["tags"]
    if tags != _EVERYTHING:
        tags = {str(name): [str(value) for value in values] for name, values in tags.items()}
        check_tags(tags)
    return Token(
        id=str(row["id"]),
        name=str(row["name"]),
        sha256=str(row["sha256"]),
        tags=None if tags == _EVERYTHING else tags,
        may_ingest=row["may_ingest"] is True,
        created=float(row["created"]),
        expires=None if row["expires"] is None else float(row["expires"]),
        revoked=None if row["revoked"] is None else float(row["revoked"]),
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidSettings(f"the file of tokens cannot be read: {error}") from error
    return found.st_ino, found.st_mtime_ns, found.st_size
