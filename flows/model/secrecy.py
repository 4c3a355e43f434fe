"""Keeps the secrets of this process out of errors, records and logs, in any encoding, whole or in part.

A value is secret because of its parameter's name (`api_key`, `pwd`, …), or because it was looked up as a secret. Texts
are searched for any eight consecutive letters of a secret, plain or encoded for URLs, JSON, Python, HTML, hexadecimal
and base64, with any of the letters escaped. Shorter values are searched for whole. Passwords in URLs are hidden even if
they are not known as secrets.
"""

import base64
import html
import json
import re
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, cast
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

LEFT_OUT = "***"
"""The text that replaces a secret."""
_PART = 8
_SHORTEST = 4
"""Shorter values are not hidden, because they occur in too many unrelated texts."""
_MOST_VALUES = 10_000
_LONGEST = 100_000
"""Of a longer value, only this many letters are searched for, since no password is that long."""
_MOST_ESCAPED = 3
"""How many levels of escaping are undone (JSON in JSON in JSON)."""
_ESCAPE = re.compile(
    r"""(?:%|\\x)([0-9a-f]{2})|\\u([0-9a-f]{4})|&\#x([0-9a-f]{1,6});|&\#([0-9]{1,7});|\\([0-7]{3})|\\([/"'\\])|"""
    r"&(?:amp|lt|gt|quot|apos);",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_UNMISTAKABLE = re.compile(r"secret|password|passwd|passphrase|passcode|credential|api ?key|authori[sz]ation")
_SECRET = re.compile(
    r"pwd|(?:auth|access|refresh|bearer|session|csrf|sas|api|id)? ?token|cookies?|bearer|jwt|otp|dsn|creds|"
    r"(?:db|database|smtp|ftp|mail|user|login|admin|root) ?(?:pass|pw)|(?:basic|http|proxy) ?auth|auth ?header|"
    r"(?:access|private|signing|encryption|master|shared|account|ssh|hmac|webhook|deploy) ?keys?"
)
_OF_A_QUERY = re.compile(r"sig|signature|key|auth|pass|pw|code|amz signature|goog signature")
_COUNTED = re.compile(r"(?:max|min|most|least|total|used|per|of|n|num)\b.*|token (?:count|limit|budget|use|usage|size)")
"""Words in names that count the tokens of a model, such as `max_tokens`; these are not secrets."""
_URL = re.compile(r"^[A-Za-z][\w+.-]*://\S+$")
_URL_PASSWORD = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^/@\s:'\"]*:)(?!\d{1,5}(?:[/?#\s'\"]|$))[^\s'\"<>/]*@")
_URL_TOKEN = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/@\s:'\"]{20,}@")
_URL_QUERY = re.compile(r"([?&;])([A-Za-z][\w.-]*)=([^&;\s'\"#<>]+)")
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic|digest|token)\s+)?)[^\s'\",;}]{4,}"
)


def is_secret_name(name: str) -> bool:
    """Whether a value of this name is a secret: `api_key`, `pwd`, `X-Auth-Token`, `clientSecret`; not `max_tokens`."""
    words = _words(name)
    if _UNMISTAKABLE.search(words):
        return True
    return not _COUNTED.fullmatch(words) and any(_SECRET.fullmatch(part) for part in _parts(words))


def _words(name: str) -> str:
    return " ".join(word.lower() for word in _WORDS.findall(name))


def _parts(words: str) -> Iterator[str]:
    """Every word, and every pair of consecutive words."""
    split = words.split()
    yield from split
    yield from (f"{first} {second}" for first, second in pairwise(split))


class HiddenValues:
    """Values that a text must not show. Safe under threads."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._parts: frozenset[str] = frozenset()
        self._whole: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Hide these values too; of a URL, only the password and the secrets in its query."""
        with self._lock:
            new = [value for each in values for value in _of_url(each) if len(value) >= _SHORTEST]
            if all(value in self._known for value in new):
                return
            self._known.update(dict.fromkeys(new))
            while len(self._known) > _MOST_VALUES:
                self._known.popitem(last=False)
            forms = {form for value in self._known for form in _forms(value[:_LONGEST])}
            self._parts = frozenset(
                form[start : start + _PART] for form in forms for start in range(len(form) - _PART + 1)
            )
            self._whole = tuple(sorted((form for form in forms if len(form) < _PART), key=len, reverse=True))

    def hide(self, text: str) -> str:
        """`text` with `***` for every part of them."""
        parts, whole = self._parts, self._whole
        if parts:
            text = _without_parts(text, parts)
        for form in whole:
            text = re.sub(rf"(?i)(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])", LEFT_OUT, text)
        return text


def _without_parts(text: str, parts: frozenset[str]) -> str:
    """`text` with `***` for every run of parts, in the text itself and in its unescaped form."""
    found = list(_runs(_small(text), parts))
    view, starts = text, cast("Sequence[int]", range(len(text) + 1))
    for _ in range(_MOST_ESCAPED):
        if not _ESCAPE.search(view):
            break
        view, starts = _unescaped(view, starts)
        found += [(starts[first], starts[end]) for first, end in _runs(_small(view), parts)]
    kept: list[str] = []
    shown = 0
    for first, end in sorted(found):
        if end <= shown:
            continue
        if first >= shown:
            kept += [text[shown:first], LEFT_OUT]
        shown = end
    return "".join([*kept, text[shown:]])


def _runs(small: str, parts: frozenset[str]) -> Iterator[tuple[int, int]]:
    """The ranges (start, end) in which a lower-case text consists of parts."""
    position = 0
    while position <= len(small) - _PART:
        first = position
        while small[position : position + _PART] in parts and position <= len(small) - _PART:
            position += 1
        if position > first:
            position += _PART - 1
            yield first, position
        else:
            position += 1


def _unescaped(view: str, starts: Sequence[int]) -> tuple[str, list[int]]:
    """A text with its escapes decoded, and the start of each letter in the original text."""
    letters: list[str] = []
    own: list[int] = []
    position = 0
    for found in _ESCAPE.finditer(view):
        letters += [view[position : found.start()], _letter(found)]
        own += [*starts[position : found.start()], starts[found.start()]]
        position = found.end()
    return "".join([*letters, view[position:]]), [*own, *starts[position:]]


def _letter(escape: "re.Match[str]") -> str:
    byte, unit, of_html, decimal, octal, itself = escape.groups()
    if hexadecimal := byte or unit or of_html:
        code = int(hexadecimal, 16)
    elif decimal or octal:
        code = int(decimal) if decimal else int(octal, 8)
    else:
        return itself or html.unescape(escape[0])
    return chr(code) if code <= sys.maxunicode else "\ufffd"


def _small(text: str) -> str:
    """The text in lower case, with every letter at its old position; letters that would become two stay."""
    small = text.lower()
    if len(small) == len(text):
        return small
    return "".join(each.lower() if len(each.lower()) == 1 else each for each in text)


def _of_url(value: str) -> list[str]:
    """The secret parts of a value: of a URL its password, token and secret parameters; else the whole value."""
    if not _URL.match(value):
        return [value]
    try:
        parsed = urlsplit(value)
        user, password = parsed.username, parsed.password
    except ValueError:
        return [value]
    found = [password, unquote(password)] if password else []
    if user and not password and len(user) >= 20:
        found.append(user)
    return [*found, *(text for name, text in parse_qsl(parsed.query) if _is_secret_in_query(name))]


def _forms(value: str) -> Iterator[str]:
    """The value in lower case, plain and encoded."""
    data = value.encode("utf-8", "surrogatepass")
    forms = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        repr(data)[2:-1],
        html.escape(value),
        quote(data, safe=""),
        quote(data),
        quote_plus(data),
        data.hex(),
        data.decode("latin-1"),  # its bytes, each one escaped
        *_base64(data),
    }
    for form in forms:
        yield _small(form)


def _base64(data: bytes) -> Iterator[str]:
    """The part of the data's base64 that is the same at any offset of the encoded text."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        if last - first >= _PART:
            yield encoded[first:last]
            yield encoded[first:last].replace("+", "-").replace("/", "_")


_hidden = HiddenValues()


def keep_secret(values: Iterable[str]) -> None:
    """Hide these values in all errors, records and logs of this process from now on."""
    _hidden.add(values)


def keep_parameters_secret(parameters: Mapping[str, Any]) -> None:
    """Hide the values of parameters whose names mark them as secrets, at any depth."""
    keep_secret(_secrets_in(parameters))


def _secrets_in(value: Any, *, secret: bool = False) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():
            yield from _secrets_in(item, secret=secret or is_secret_name(str(key)))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in cast("Iterable[Any]", value):
            yield from _secrets_in(item, secret=secret)
    elif isinstance(value, str) and secret:
        yield value
    elif secret and isinstance(value, (int, bytes)) and not isinstance(value, bool):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        yield from [text] if len(text) >= _PART else []


def hide_secrets(text: str) -> str:
    """`text` without secrets of this process, passwords in URLs, and headers that authorise."""
    text = _hidden.hide(text)
    if "://" in text:
        # Search line by line: few lines of a long text have a URL, and no URL spans two lines.
        text = "\n".join(_without_passwords(line) if "://" in line else line for line in text.split("\n"))
        text = _URL_QUERY.sub(_without_value, text)
    # A plain search for these letters of `_HEADER` first takes a tenth of the time of the expression.
    small = text.lower()
    return _HEADER.sub(rf"\1{LEFT_OUT}", text) if "author" in small and "zat" in small else text


def _without_passwords(line: str) -> str:
    return _URL_TOKEN.sub(rf"\1{LEFT_OUT}@", _URL_PASSWORD.sub(rf"\1{LEFT_OUT}@", line))


def _without_value(found: "re.Match[str]") -> str:
    return f"{found[1]}{found[2]}={LEFT_OUT}" if _is_secret_in_query(found[2]) else found[0]


def _is_secret_in_query(name: str) -> bool:
    return is_secret_name(name) or any(_OF_A_QUERY.fullmatch(part) for part in _parts(_words(name)))


def hide_secrets_in(value: Any) -> Any:
    """Plain data without secrets: `***` for values with the name of a secret, and for secrets in any text."""
    if isinstance(value, str):
        return hide_secrets(value)
    if isinstance(value, Mapping):
        return {
            str(key): LEFT_OUT if is_secret_name(str(key)) and item is not None else hide_secrets_in(item)
            for key, item in cast("Mapping[Any, Any]", value).items()
        }
    if isinstance(value, (list, tuple)):
        return [hide_secrets_in(item) for item in cast("list[Any]", value)]
    return value


def scrub(error: BaseException) -> None:
    """Remove secrets from the message, causes and notes of an error, because other code may log or store them."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__]
        with suppress(Exception):  # reading a foreign error may raise any error
            args = tuple(hide_secrets(arg) if isinstance(arg, str) else arg for arg in each.args)
            if any(one is not other for one, other in zip(args, each.args, strict=True)):
                each.args = args
            if notes := getattr(each, "__notes__", None):
                each.__notes__ = [hide_secrets(str(note)) for note in notes]
