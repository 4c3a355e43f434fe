"""Bytes of text files to strings: byte order marks, UTF-8, then detection, then cp1252."""

import codecs

from handlers.extraction.formats import Unreadable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES = 200_000


def decode(data: bytes, *, declared: str | None = None) -> str:
    """The text, with `\\n` line ends and without a byte order mark.

    Raises:
        Unreadable: this is no text, or not in the encoding that its mark says.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return _tidy(data[len(mark) :].decode(encoding))
            except UnicodeDecodeError as error:
                raise Unreadable(f"its byte order mark says {encoding}, but byte {error.start} is not that") from error
    for encoding in filter(None, ("utf-8", declared)):
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if "\0" in text:
            break
        return _tidy(text)
    return _tidy(_detect(data))


def _detect(data: bytes) -> str:
    from charset_normalizer import from_bytes

    if b"\0" in data and not _looks_like_utf16(data):
        raise Unreadable("is binary, not text; give it the suffix of its real format")
    # cp1252 first where it makes sense: on short texts the detector takes German for Cyrillic or Greek code pages.
    if (western := _decode_western(data)) is not None:
        return western
    best = from_bytes(data[:_SAMPLE_BYTES]).best()
    for encoding in filter(None, (best.encoding if best else None, "cp1252")):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    if best is not None:
        return data.decode(best.encoding, errors="replace")
    raise Unreadable("its encoding could not be told; save it as UTF-8")


def _decode_western(data: bytes) -> str | None:
    """The text in cp1252 if nearly all letters beyond ASCII in it stand inside otherwise plain Latin words."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    special = [index for index, character in enumerate(text) if character > "\x7f"]
    letters = [index for index in special if text[index].isalpha()]
    if any("\x00" <= character < "\t" for character in text):
        return None
    in_words = sum(
        (index > 0 and text[index - 1].isascii() and text[index - 1].isalpha())
        or (index + 1 < len(text) and text[index + 1].isascii() and text[index + 1].isalpha())
        for index in letters
    )
    rare = sum(text[index] in "¢£¥¦¨¬¯¸¹²³¼½¾×÷ÐÞðþŠšŽžƒ" for index in special)
    return text if in_words >= 0.9 * len(letters) and rare <= 0.2 * len(special) else None


def _looks_like_utf16(data: bytes) -> bool:
    if len(data) % 2 or len(data) < 8:
        return False
    sample = data[:4_000]
    odd, even = sample[1::2].count(0), sample[0::2].count(0)
    return max(odd, even) > 0.3 * (len(sample) / 2) and min(odd, even) < 0.05 * (len(sample) / 2)


def _tidy(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
