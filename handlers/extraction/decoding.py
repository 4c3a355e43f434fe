"""Decodes text files: by byte order mark, UTF-8, the declared encoding, or else a guess that is reported as such."""

import codecs
import re
import unicodedata
from dataclasses import dataclass

from handlers.extraction.formats import Unreadable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, because its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ESCAPES = ((b"\x1b$)C", "iso2022_kr"), (b"\x1b$B", "iso2022_jp_ext"), (b"\x1b$@", "iso2022_jp_ext"))
_SAMPLE_BYTES = 200_000
_MOSTLY = 0.05
"""The largest share of damaged characters in a text with a declared encoding."""
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_BREAKS = re.compile("\r\n?|[\x0b\x85]")
_NO_CHARSETS = ("undefined", "idna", "punycode", "unicode-escape", "raw-unicode-escape")
# The meaning of these names on the web: https://encoding.spec.whatwg.org/#names-and-labels
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
}


@dataclass(frozen=True)
class Decoded:
    """A text with the encoding it was read in."""

    text: str
    encoding: str = "utf-8"
    guessed: bool = False
    damaged: int = 0
    """How many characters could not be decoded and were replaced by U+FFFD."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a document about its encoding; empty for valid UTF-8."""
        facts = [] if self.encoding == "utf-8" else [("encoding", self.encoding)]
        if self.guessed:
            facts.append(("encoding_guessed", "yes"))
        if self.damaged:
            facts.append(("damaged_characters", str(self.damaged)))
        return tuple(facts)


def decode(data: bytes, *, declared: str | None = None, assumed: str | None = None) -> Decoded:
    """The text, with `\\n` line ends, without byte order mark and control characters.

    Tried in this order: the byte order mark, UTF-8 (with a few damaged bytes allowed), the `declared` encoding, the
    `assumed` one, a guess. Unknown names of encodings are ignored.

    Raises:
        Unreadable: it is not text, or not in the encoding of its byte order mark.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            found = _mostly(data[len(mark) :], encoding)
            if found is None:
                raise Unreadable(f"its byte order mark names {encoding}, but most of its bytes are not {encoding}")
            return found
    if b"\0" in data:
        return _wide(data)
    for escape, encoding in _ESCAPES:
        if escape in data and (found := _mostly(data, encoding)) is not None:
            return found
    if (found := _utf8(data)) is not None:
        return found
    for named in (declared, assumed):
        if (encoding := known_encoding(named)) and (found := _mostly(data, encoding)) is not None:
            return found
    encoding = _guess(data)
    text = data.decode(encoding, errors="replace")
    return _decoded(text, encoding, guessed=True)


def known_encoding(name: str | None) -> str | None:
    """Python's name of a text encoding, as the web defines it; None for an unknown name."""
    try:
        found = codecs.lookup((name or "").strip())
    except (LookupError, ValueError):  # a ValueError for a name with a NUL in it
        return None
    if not found._is_text_encoding or found.name in _NO_CHARSETS:
        return None
    return _SUPERSETS.get(found.name, found.name)


def _decoded(text: str, encoding: str, *, guessed: bool = False) -> Decoded:
    damaged = text.count("\ufffd")
    text = _CONTROLS.sub("", _BREAKS.sub("\n", text))
    return Decoded(text, encoding, guessed, damaged)


def _mostly(data: bytes, encoding: str) -> Decoded | None:
    try:
        return _decoded(data.decode(encoding), encoding)
    except UnicodeError:
        pass
    found = _decoded(data.decode(encoding, errors="replace"), encoding)
    return found if found.damaged <= max(1, _MOSTLY * len(found.text)) else None


def _utf8(data: bytes) -> Decoded | None:
    try:
        return _decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    # Sequences of several bytes are hardly ever valid UTF-8 by chance.
    text = data.decode("utf-8", errors="replace")
    beyond, damaged = sum(character > "\x7f" for character in text), text.count("\ufffd")
    return _decoded(text, "utf-8") if beyond - damaged >= 2 * damaged else None


def _wide(data: bytes) -> Decoded:
    """UTF-16 or UTF-32 without a mark, recognised by the positions of zero bytes."""
    size = len(data) - len(data) % 4
    zeros = [data[at:size:4].count(0) * 4 / max(size, 1) for at in range(4)]
    for encoding, empty, full in (
        ("utf-32-le", (3,), (0,)),
        ("utf-32-be", (0,), (3,)),
        ("utf-16-le", (1, 3), (0, 2)),
        ("utf-16-be", (0, 2), (1, 3)),
    ):
        least = 0.99 if "32" in encoding else 0.3
        if min(zeros[at] for at in empty) >= least and max(zeros[at] for at in full) < 0.05:
            found = _mostly(data, encoding)
            if found is not None:
                return Decoded(found.text, encoding, guessed=True, damaged=found.damaged)
    if data.count(0) <= max(1, len(data) // 1000):
        return decode(data.replace(b"\0", b""))
    raise Unreadable("is binary, not text; give it the suffix of its real format")


def _guess(data: bytes) -> str:
    """The most likely encoding of a text that is not UTF-8.

    chardet recognises languages by their letters. For short texts it overrates rare, old encodings; so this function
    lowers their weight, and that of encodings in which words mix scripts.
    """
    import chardet

    sample = data[:_SAMPLE_BYTES]
    if _looks_binary(sample):
        raise Unreadable("is binary, not text; give it the suffix of its real format")
    if (japanese := _japanese(sample)) is not None:
        return japanese
    first = known_encoding(chardet.detect(sample)["encoding"])
    short = sum(byte > 0x7F for byte in sample) < 300
    if first and _plausible(sample, first) > 0.6 and (not short or _common(first) > 0.9):
        return first
    best, highest = first or "cp1252", 0.0
    for each in chardet.detect_all(sample, ignore_threshold=True):
        encoding = known_encoding(each["encoding"])
        if encoding is None:
            continue
        score = each["confidence"] * _plausible(sample, encoding) * (_common(encoding) if short else 1)
        if score > highest:
            best, highest = encoding, score
    return best


def _japanese(sample: bytes) -> str | None:
    """The encoding in which a good part of the sample is kana, which no other language has by chance."""
    for encoding in ("cp932", "euc_jp"):
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(sample)
        except UnicodeDecodeError:
            continue
        beyond = sum(character > "\x7f" for character in text)
        if beyond and len(_KANA.findall(text)) >= 0.25 * beyond:
            return encoding
    return None


def _looks_binary(sample: bytes) -> bool:
    controls = sum(sample.count(byte) for byte in (*range(1, 9), *range(14, 27), *range(28, 32), 127))
    return controls > 0.02 * len(sample)


def _common(encoding: str) -> float:
    if re.match(r"cp125\d|koi8|cp932|shift|euc|gb|hz|big5|cp949|cp874|johab", encoding):
        return 1.0
    if encoding in ("iso8859-2", "iso8859-5", "iso8859-7", "iso8859-8", "iso8859-15"):
        return 0.95
    if re.match(r"mac|iso8859|cp8[56]\d|cp437|cp737|cp775", encoding):
        return 0.6
    return 0.1  # EBCDIC and the like


_KANA = re.compile("[ぁ-ゖァ-ヺ]")
_WORD = re.compile(r"[^\W\d_]+")
_ODD = frozenset("¤¦¨¬¯¸¹²³¼½¾×÷ˇ˘˙˛˝")


def _plausible(sample: bytes, encoding: str) -> float:
    """How much the sample looks like words in that encoding, from 0 to 1."""
    try:
        text = sample.decode(encoding, errors="replace")
    except UnicodeError:
        return 0.0
    special = [character for character in text if character > "\x7f"]
    odd = sum(each in _ODD or unicodedata.category(each) in ("Cc", "Cn", "Co", "So") for each in special)
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    mixed = sum(len({_script(letter) for letter in word}) > 1 for word in words)
    return (1 - mixed / max(1, len(words))) ** 2 * (1 - odd / max(1, len(special)))


def _script(letter: str) -> str:
    return "LATIN" if letter.isascii() else unicodedata.name(letter, "").partition(" ")[0]
