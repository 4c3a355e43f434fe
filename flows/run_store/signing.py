"""Signs kept results, because they are pickles: unpickling data of an attacker would run the attacker's code.

The key belongs to the installation: a file that only its owner may read, or a secret that several machines share. A
signature covers the result and its place, so a signed result cannot stand in for another one.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from sqlalchemy.engine import make_url

from flows.errors import OrchestrationError
from flows.storage import private_folder, sync_folder

KEY_FILE = "run-store.key"
LEAST_LETTERS = 16
"""The least length of a secret; shorter ones could be guessed."""
_SIGNED = b"\x01"
"""The first bytes of a signed result; neither a pickle nor a compressed one begins with them."""
_LENGTH = hashlib.sha256().digest_size


class UnsignedResult(OrchestrationError):
    """A kept result that this installation has not signed; it is not read."""


class SigningKey:
    """Signs kept results with HMAC-SHA256; made of a secret, or of a file that is made when it is first needed."""

    def __init__(self, secret: str | None = None, *, file: Path | None = None) -> None:
        if secret is not None and len(secret) < LEAST_LETTERS:
            raise OrchestrationError(
                f"the key of the run store has fewer than {LEAST_LETTERS} letters; make one with `openssl rand -hex 32`"
            )
        self._file = file
        self._secret = secret.encode() if secret is not None else secrets.token_bytes(32) if file is None else b""

    @classmethod
    def of_store(cls, url: str) -> "SigningKey":
        """The key in a file beside the store; for a store on a server, in the folder `.braid` here."""
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return cls(file=Path(".braid") / KEY_FILE)
        in_memory = parsed.database in (None, "", ":memory:")
        return cls() if in_memory else cls(file=Path(str(parsed.database)).parent / KEY_FILE)

    def sign(self, content: bytes, *place: str) -> bytes:
        """The content with its signature for a place."""
        return _SIGNED + self._signature(content, place) + content

    def checked(self, signed: bytes, *place: str) -> bytes:
        """The content, if it was signed for this place.

        Raises:
            UnsignedResult: it was not signed, or not with this key, or for another place.
        """
        if signed[:1] != _SIGNED:
            raise UnsignedResult("it was kept by a release of Braid that did not sign results")
        content = signed[1 + _LENGTH :]
        if not hmac.compare_digest(self._signature(content, place), signed[1 : 1 + _LENGTH]):
            where = f"; its key is in {self._file}" if self._file is not None else ""
            raise UnsignedResult(
                f"this installation did not sign it{where}. Machines that share a run store need one "
                "BRAID_RUN_STORE_KEY. If they have it, somebody changed the run store"
            )
        return content

    def _signature(self, content: bytes, place: tuple[str, ...]) -> bytes:
        self._secret = self._secret or _read_or_make(self._file or Path(KEY_FILE))
        ahead = [*map(_with_length, map(str.encode, place)), len(content).to_bytes(8, "big")]
        made = hmac.new(self._secret, b"".join(ahead), hashlib.sha256)
        made.update(content)
        return made.digest()


def _with_length(part: bytes) -> bytes:
    return len(part).to_bytes(8, "big") + part


def _read_or_make(file: Path) -> bytes:
    """The key in a file, created if missing; processes that create it at the same time get the same key."""
    try:
        if not file.exists():
            _make(file)
        found = file.read_bytes().strip()
    except OSError as error:
        raise OrchestrationError(
            f"the key of the run store cannot be kept in {file} ({error.strerror}); make the folder writable, or set "
            "BRAID_RUN_STORE_KEY"
        ) from error
    if len(found) < LEAST_LETTERS:
        raise OrchestrationError(f"{file} contains no valid key; delete it, and steps whose results are kept run again")
    return found


def _make(file: Path) -> None:
    private_folder(file.parent)
    new = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(secrets.token_hex(32) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        try:
            os.link(new, file)
        except FileExistsError:
            pass
        except OSError:  # the file system has no hard links
            os.replace(new, file)
        sync_folder(file.parent)
    finally:
        new.unlink(missing_ok=True)
