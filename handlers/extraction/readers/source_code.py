"""Source code: a heading for each function and class, so that passages begin and end at their boundaries."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from handlers.extraction.decoding import decode
from handlers.extraction.formats import Extracted, RawFile
from handlers.records import Block

SOURCE_SUFFIXES = tuple(
    ".py .pyi .js .mjs .cjs .jsx .ts .tsx .java .kt .kts .scala .groovy .go .rs .c .h .cc .cpp .cxx .hh .hpp .cs "
    ".swift .m .mm .rb .php .pl .pm .lua .r .jl .sh .bash .zsh .ps1 .sql .dart .ex .exs .erl .hs .ml .clj .f90 .vb "
    ".proto .tf .vue .svelte".split()
)
_CODING = re.compile(rb"\A(?:[^\n]*\n)?[ \t\f]*(?:#|//|/\*).*?coding[:=][ \t]*([-\w.]+)")
_KEYWORDS = (
    r"abstract|async|case|companion|const|data|default|export|extern|final|inline|internal|open|override|partial|private|"
    r"protected|pub(?:\([^)]*\))?|public|sealed|static|unsafe|virtual"
)
_DECLARED = re.compile(
    rf"(?mi)^([ \t]*)(?:(?:{_KEYWORDS})\s+)*"
    r"(?:class|def|defmodule|defp|enum|fn|fun|func|function|impl|interface|mod|module|namespace|object|procedure|protocol|"
    r"record|struct|sub|subroutine|trait|type|union|create\s+(?:or\s+replace\s+)?(?:table|view|function|procedure|index))\b"
    r"[^\n;]*[\w)>\]}{:]?[^\n]*$"
)
_C_FUNCTION = re.compile(
    r"(?m)^()(?!(?:else|if|for|while|switch|return|do|case)\b)[A-Za-z_][\w \t*&<>,:~\[\]]*[ \t*&]~?[\w:~]+[ \t]*"
    r"\([^;{}]*\)[^;{}()\n]*(?:\n[ \t]*)?\{"
)
_METHOD = re.compile(
    r"(?m)^([ \t]{1,8})(?:(?:public|private|protected|internal|static|final|abstract|async|override|virtual)[ \t]+)+"
    r"[\w<>\[\],.?: \t]*\w[ \t]*\([^;]*?\)[^;{}\n]*\{"
)
_BEFORE = re.compile(r"[ \t]*(?:#(?!include|define|if|endif|pragma)|//|/\*|\*|\*/|--|@|;;|%|\[\w+\]$)")
_LONGEST_DECLARATION = 400
_LONGEST_LINE = 2_000


class _Declaration(NamedTuple):
    start: int
    """The line at which its comments and decorators begin."""
    end: int
    """The line after its declaration."""
    level: int


def read_source(file: RawFile) -> Extracted:
    """The text unchanged, with blocks of code below the lines that declare a function or class."""
    declared = _CODING.match(file.data)
    decoded = decode(file.data, declared=declared[1].decode("ascii") if declared else None, assumed=file.encoding)
    text = decoded.text
    declarations = _python(text) if file.name.endswith((".py", ".pyi")) else None
    if declarations is None:
        declarations = sorted(_others(text))
    return Extracted(text, list(_blocks(text, declarations)), metadata=decoded.metadata)


def _python(text: str) -> list[_Declaration] | None:
    """The declarations by Python's syntax tree; None if this Python cannot parse the text."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    starts = _starts(text)
    found: list[_Declaration] = []

    def visit(body: list[ast.stmt], level: int) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            last = max(node.lineno, node.body[0].lineno - 1 if node.body[0].lineno > node.lineno else node.lineno)
            while last > node.lineno and not text[starts[last - 1] : starts[last]].strip().endswith(":"):
                last -= 1
            found.append(_Declaration(_with_comments(text, starts[first - 1]), starts[last], level))
            if isinstance(node, ast.ClassDef) and level < 6:
                visit(node.body, level + 1)

    visit(tree.body, 1)
    return found


def _others(text: str) -> Iterator[_Declaration]:
    """The declarations by common patterns: a keyword, or a name with parameters before a brace."""
    if any(len(line) > _LONGEST_LINE for line in text.split("\n")):
        return  # generated or minified code
    ends: dict[int, int] = {}
    for pattern in (_DECLARED, _C_FUNCTION, _METHOD):
        for found in pattern.finditer(text):
            begin = text.rfind("\n", 0, found.start()) + 1
            if found.end() - begin <= _LONGEST_DECLARATION:
                ends.setdefault(begin, max(found.end(), begin + 1))
    last = -1
    indents: list[int] = []
    for begin, end in sorted(ends.items()):
        line_end = text.find("\n", end)
        end = len(text) if line_end < 0 else line_end
        if begin < last:
            continue
        indent = len(text[begin:end]) - len(text[begin:end].lstrip(" \t"))
        while indents and indents[-1] >= indent:
            indents.pop()
        indents.append(indent)
        if len(indents) <= 3 and indent <= 12:
            yield _Declaration(max(last, _with_comments(text, begin)), end, len(indents))
            last = end


def _blocks(text: str, declarations: list[_Declaration]) -> Iterator[Block]:
    at = 0
    for each in declarations:
        if each.start < at:
            continue
        yield from _block(text, "code", at, each.start, 0)
        yield from _block(text, "heading", each.start, each.end, each.level)
        at = each.end
    yield from _block(text, "code", at, len(text), 0)


def _block(text: str, kind: str, start: int, end: int, level: int) -> Iterator[Block]:
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end and text[start].isspace():
        start += 1
    if start < end:
        # The indentation of the first line is part of the block.
        begin = text.rfind("\n", 0, start) + 1
        yield Block(kind, begin if not text[begin:start].strip() else start, end, level)


def _with_comments(text: str, start: int) -> int:
    """The start of the comments and attributes directly above a line."""
    while start > 0:
        before = text.rfind("\n", 0, start - 1) + 1
        line = text[before : start - 1]
        if not line.strip() or not _BEFORE.match(line):
            return start
        start = before
    return start


def _starts(text: str) -> list[int]:
    return [0, *(found.end() for found in re.finditer("\n", text)), len(text)]
