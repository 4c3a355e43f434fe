"""Output in limited encodings: characters get plain spellings instead of an encoding error."""

import codecs
import sys
import unicodedata
from typing import TextIO

_SPELLINGS = {"→": "->", "←": "<-", "·": "-", "…": "...", "×": "x", "–": "-", "—": "-", "✓": "+", "✗": "x", "•": "*"}
_ERRORS = "braid_plain"


def write_plainly() -> None:
    """Make stdout and stderr replace characters outside their encoding by a plain spelling, else by `?`."""
    codecs.register_error(_ERRORS, _plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_ERRORS)


def can_be_written(text: str, stream: TextIO) -> bool:
    """Whether the encoding of a stream has every character of a text."""
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelling, error.object[error.start : error.end])), error.end


def _spelling(character: str) -> str:
    """A spelling in ASCII: `e` for `é`, `->` for an arrow."""
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _SPELLINGS.get(character) or plain or "?"
