"""Compounds: names with punctuation or digits inside, such as `v2.3.1`, `foo_bar::baz`, `C++` and `/etc/ntp.conf`.

A compound is an additional term beside its words, so that a search finds it as typed.
"""

import re
from collections.abc import Iterator

# Prose has hyphens, slashes and dots too: `well-known`, `and/or`, `e.g.`, the end of a sentence.
_RUN = re.compile(r"(?:[\w.:/\\@#+&%=~$^'-]|(?<=\d),(?=\d))+")
_OUTER = ".:'’‘…=~^%&\\-"
_LONGEST = 120
_SPLIT = (re.compile(r"[/\\=@&?]+|::|->|:"), re.compile(r"\.+"))
_DIGIT, _LETTER = re.compile(r"\d"), re.compile(r"[^\W\d_]")
_NAMING = re.compile(r"\w[_.:\\@#+&=~$]+\w|^_|_$|\w[+#]+$|^[./~][\w./~]|^--?\w|^[#@$.]\w")
_ABBREVIATION = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{0,2}\.?")
_HYPHENED = re.compile(r"[^\W\d_]+(?:[-'’/][^\W\d_]+)*")


def located_compounds(text: str) -> Iterator[tuple[str, int, int]]:
    """The compounds of a text in compatibility form, case-folded, with their inner compounds and positions."""
    for match in _RUN.finditer(text):
        run = match.group()
        # Letters and digits without punctuation are words.
        if not run.isalnum():
            for name, start, end in _of_run(run, match.start(), 0):
                if not name.isalnum():
                    yield name, start, end


def is_compound(run: str) -> bool:
    """Whether a run of characters without blanks looks like a name or number rather than prose."""
    if not 1 < len(run) <= _LONGEST or run.isalpha() or not re.search(r"\w", run):
        return False
    if _HYPHENED.fullmatch(run) or _ABBREVIATION.fullmatch(run):
        return False
    if _DIGIT.search(run):
        return bool(_LETTER.search(run)) or re.search(r"\d[^\w\s]+\w|\w[^\w\s]+\d|_", run) is not None
    return _NAMING.search(run) is not None or run.count("/") > 1


def _of_run(run: str, start: int, level: int) -> Iterator[tuple[str, int, int]]:
    kept = _trimmed(run)
    start += run.find(kept) if kept else 0
    if not kept:
        return
    if is_compound(kept):
        yield kept.casefold(), start, start + len(kept)
    for depth in range(level, len(_SPLIT)):
        parts = list(_between(_SPLIT[depth], kept))
        if len(parts) > 1:
            for begin, end in parts:
                yield from _of_run(kept[begin:end], start + begin, depth + 1)
            return


def _trimmed(run: str) -> str:
    """The run without the punctuation of the surrounding sentence; characters that belong to names stay."""
    ended = run.rstrip(_OUTER)
    begun = ended.lstrip("'’‘…=~^%&\\:" if re.match(r"[./~_#@$-]+\w", ended) else _OUTER)
    return "" if not re.search(r"\w", begun) else begun


def _between(splitter: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for match in splitter.finditer(text):
        if match.start() > begin:
            yield begin, match.start()
        begin = match.end()
    if begin < len(text):
        yield begin, len(text)
